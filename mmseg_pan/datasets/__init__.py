"""Data sets and their transforms."""

from .checked import CheckedSegDataset, VOCAugDataset
from .toy import ToyShapesDataset
from .transforms import (
    FastPackSegInputs,
    FastPhotoMetricDistortion,
    FastRandomCrop,
    FastRandomFlip,
)
