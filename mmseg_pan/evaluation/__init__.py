"""Metrics, confusion matrices, intervals, test-time augmentation and fast inference."""

from .fast_inference import FastTestHook, prepare_for_inference
from .fast_iou import FastIoUMetric
from .fast_tta import FastTTAModel
from .selected_iou import SelectedIoUMetric
