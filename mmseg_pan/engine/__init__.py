"""What drives a run: launching, hooks, loop and data stream, the summary at the start."""

from .acceleration import BFloat16OptimWrapper, ChannelsLastHook, CompileHook
from .loop import ResumableTrainLoop
from .safe_checkpoint import SafeCheckpointHook
from .stop_signal import StopSignalHook
from .stream import StreamDataset, StreamSampler
from .summary import RunSummaryHook
from .verified_checkpoint import VerifiedCheckpointHook

__all__ = [
    'BFloat16OptimWrapper',
    'ChannelsLastHook',
    'CompileHook',
    'ResumableTrainLoop',
    'RunSummaryHook',
    'SafeCheckpointHook',
    'StopSignalHook',
    'StreamDataset',
    'StreamSampler',
    'VerifiedCheckpointHook',
]
