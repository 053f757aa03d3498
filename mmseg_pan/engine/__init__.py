"""The training loop: data stream, checkpoints, signals, memory format, summary."""

from .acceleration import BFloat16OptimWrapper, ChannelsLastHook
from .continuation import ContinuationHook
from .frozen_norm import FrozenNormHook
from .loop import ResumableTrainLoop
from .safe_checkpoint import SafeCheckpointHook
from .stop_signal import StopSignalHook
from .stream import StreamDataset, StreamSampler
from .summary import RunSummaryHook
from .verified_checkpoint import VerifiedCheckpointHook
