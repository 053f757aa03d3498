"""Data sets."""

from .checked import CheckedSegDataset
from .toy import ToyShapesDataset
from .voc import VOCAugDataset

__all__ = ['CheckedSegDataset', 'ToyShapesDataset', 'VOCAugDataset']
