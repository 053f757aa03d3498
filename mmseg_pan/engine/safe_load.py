"""Let ``torch.load(weights_only=True)`` read what mmengine writes.

torch 2.6 and newer refuse pickles by default. mmengine's checkpoints hold its logged
scalars as ``HistoryBuffer`` and numpy arrays: OpenMMLab's release cannot load its own
files any more, OneDL's falls back to the unsafe path. Naming these few harmless types
keeps both on the safe one.
"""

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

_NUMBERS = ('float64', 'float32', 'int64', 'int32', 'uint8', 'bool')


def allow_mmengine_types() -> None:
    """Declare mmengine's and numpy's plain data types safe to unpickle."""
    core = getattr(np, '_core', None) or np.core  # renamed in numpy 2
    torch.serialization.add_safe_globals(
        [
            HistoryBuffer,
            core.multiarray._reconstruct,
            core.multiarray.scalar,
            np.ndarray,
            np.dtype,
            *{type(np.dtype(name)) for name in _NUMBERS},
        ]
    )
