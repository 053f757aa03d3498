"""Pyramid Attention Network for MMSegmentation.

Importing this package registers its heads, datasets and hooks with MMSegmentation.
"""

from ._stack import check_stack

check_stack()

from . import datasets, engine, models  # noqa: E402
from .errors import UserError  # noqa: E402

__version__ = '0.1.0'
__all__ = ['UserError', 'datasets', 'engine', 'models']
