"""What drives a run: launching, hooks, the summary printed at the start."""

from .safe_load import allow_mmengine_types
from .summary import RunSummaryHook

allow_mmengine_types()

__all__ = ['RunSummaryHook']
