"""Pyramid Attention Network for MMSegmentation.

Importing this package registers its heads, datasets and hooks with MMSegmentation.
"""

import contextlib
import io

from ._quiet import ignore_known_warnings
from ._stack import check_stack

check_stack()
ignore_known_warnings()

# OneDL's mmseg prints twice that one of its optional imports failed.
with contextlib.redirect_stdout(io.StringIO()):
    import mmseg.datasets

from . import datasets, engine, evaluation, models, weights  # noqa: E402
from .errors import UserError  # noqa: E402

__version__ = '0.2.0'
