"""Checkpoints that ``torch.load(weights_only=True)`` reads, with no exception granted."""

from collections import Counter, OrderedDict

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from mmengine.runner import Runner
from mmseg.registry import HOOKS

_KEY = 'log_history'  # beside message_hub, where stock mmengine does not look


def to_plain(value):
    """Replace what torch's safe loader refuses by plain types of the same content.

    numpy's numbers and arrays become Python's and torch's, named tuples become tuples, arrays of
    strings lists, and dicts of any class but those that the loader knows plain dicts.
    """
    if isinstance(value, dict):
        # OneCycleLR keeps a method of its own in its state; a new one has it already.
        plain = {key: to_plain(item) for key, item in value.items() if not callable(item)}
        return type(value)(plain) if type(value) in (Counter, OrderedDict) else plain
    if isinstance(value, (list, tuple)):
        return (tuple if isinstance(value, tuple) else list)(map(to_plain, value))
    if isinstance(value, (set, frozenset)):
        return {to_plain(item) for item in value}
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value) if value.dtype.kind in 'biufc' else to_plain(value.tolist())
    if isinstance(value, np.generic):
        return value.item()
    return value


@HOOKS.register_module()
class SafeCheckpointHook(Hook):
    """Save mmengine's logged scalars as tensors instead of pickled objects.

    mmengine pickles its ``HistoryBuffer`` objects into every checkpoint. torch 2.6 and
    newer refuse such files: OpenMMLab's release can no longer test or resume its own
    checkpoints, OneDL's falls back to the unsafe load, which runs whatever code a file
    holds. With this hook the file is tensors and plain values; stock mmengine reads it
    too and only misses the smoothing window of its log.
    """

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Take the objects out."""
        hub = checkpoint['message_hub'] = dict(checkpoint['message_hub'])
        checkpoint[_KEY] = {
            name: dict(zip(('values', 'counts'), map(torch.from_numpy, buffer.data), strict=True))
            for name, buffer in hub.pop('log_scalars').items()
        }
        hub['log_scalars'] = {}
        for key in ('meta', 'message_hub', 'param_schedulers'):
            if key in checkpoint:
                checkpoint[key] = to_plain(checkpoint[key])

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Put the objects back."""
        for name, history in checkpoint.pop(_KEY, {}).items():
            checkpoint['message_hub']['log_scalars'][name] = HistoryBuffer(
                history['values'].tolist(), history['counts'].tolist()
            )
