"""What drives a run: launching, hooks, the summary printed at the start."""

from .safe_checkpoint import SafeCheckpointHook
from .summary import RunSummaryHook

__all__ = ['RunSummaryHook', 'SafeCheckpointHook']
