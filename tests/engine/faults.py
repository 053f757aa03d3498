"""Faults that a config can name, for runs in processes of their own."""

import os
import signal
from pathlib import Path

from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmseg.registry import HOOKS


class Attack:
    """A pickle that leaves a folder behind when it is read."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@HOOKS.register_module()
class SignalOneProcess(Hook):
    """Send a signal to one process of the first attempt, before an iteration.

    Args:
        iteration: Counted from 1.
        number: The signal's number.
        rank: Whom it hits.
    """

    def __init__(self, iteration: int, number: int, rank: int = 1):
        self.iteration, self.number, self.rank = iteration, number, rank

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        first = os.environ.get('TORCHELASTIC_RESTART_COUNT', '0') == '0'
        if first and get_rank() == self.rank and batch_idx + 1 == self.iteration:
            os.kill(os.getpid(), signal.Signals(self.number))
