"""From a checkpoint to use: prediction, export, other run times."""

from .loading import load_segmentor

__all__ = ['load_segmentor']
