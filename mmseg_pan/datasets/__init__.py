"""Data sets and their transforms."""

from .checked import CheckedSegDataset
from .toy import ToyShapesDataset
from .transforms import (
    FastPackSegInputs,
    FastPhotoMetricDistortion,
    FastRandomCrop,
    FastRandomFlip,
)
from .voc import VOCAugDataset

__all__ = [
    'CheckedSegDataset',
    'FastPackSegInputs',
    'FastPhotoMetricDistortion',
    'FastRandomCrop',
    'FastRandomFlip',
    'ToyShapesDataset',
    'VOCAugDataset',
]
