"""From a checkpoint to use: prediction, export, other run times."""

from .backends import ExportedSegmentor
from .loading import load_segmentor

__all__ = ['ExportedSegmentor', 'load_segmentor']
