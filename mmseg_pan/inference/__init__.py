"""From a checkpoint and images to masks."""

from mmseg_pan.weights.loading import load_segmentor

from .images import read_image
from .predictor import Predictor
