"""On SIGTERM and SIGINT: finish the step, save, exit."""

import atexit
import math
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from ctypes import c_byte
from types import FrameType

import torch
from mmengine.dist import all_reduce, is_distributed, is_main_process
from mmengine.hooks import EMAHook, Hook
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import EpochBasedTrainLoop, Runner
from mmseg.registry import HOOKS

from mmseg_pan.errors import UserError

from .verified_checkpoint import VerifiedCheckpointHook

#: Exit code of a run that was asked to stop and saved its state: EX_TEMPFAIL, try again.
STOPPED = 75
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
# torchrun passes on what a terminal has sent to its whole group already.
_SAME_REQUEST_S = 1.0


@HOOKS.register_module()
class StopSignalHook(Hook):
    """Save a checkpoint and exit with code 75 on SIGTERM or SIGINT.

    The step at work is finished, with its gradient accumulation, and all processes stop
    at the same one; a validation at work is interrupted, and done again when the run is
    resumed. A second signal, a second or more after the first, exits at once. Needs a
    VerifiedCheckpointHook that counts iterations.
    """

    priority = 'LOWEST'  # after the averaged weights are updated and a due checkpoint is saved

    def __init__(self):
        self._received: tuple[int, float] | None = None
        self._owner = 0
        self._before: dict[int, object] = {}
        self._training = None

    def before_train(self, runner: Runner) -> None:
        """Install the signal handlers.

        Raises:
            UserError: If the loop counts epochs: it cannot resume in the middle of one.
        """
        if isinstance(runner.train_loop, EpochBasedTrainLoop):
            raise UserError(
                'StopSignalHook works with loops that count iterations, and the config has '
                'EpochBasedTrainLoop; take the hook out of custom_hooks.'
            )
        self._owner = os.getpid()
        loader = runner.train_dataloader
        context = loader.multiprocessing_context or multiprocessing
        self._training = context.RawValue(c_byte, 1)
        loader.worker_init_fn = _WorkerStart(self._training, loader.worker_init_fn)
        atexit.register(self._release_workers)  # runs before multiprocessing ends them
        self._before = {number: signal.signal(number, self._handle) for number in _SIGNALS}

    def after_train(self, runner: Runner) -> None:
        """Stop listening."""
        self._listen_no_more()

    def _listen_no_more(self) -> None:
        self._release_workers()
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _release_workers(self) -> None:
        if self._training is not None:
            self._training.value = 0

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._owner:
            # A loader worker that was forked with this handler and has not installed its own yet.
            _end_worker(number, self._training)
            return
        now = time.monotonic()
        if self._received is None:
            self._received = number, now
            if is_main_process():
                name = signal.Signals(number).name
                text = f'\n{name}: finishing the step and saving; send it again to exit at once.\n'
                os.write(2, text.encode())  # a print may have been interrupted
        elif now - self._received[1] > _SAME_REQUEST_S:
            _die_of(number)

    def after_train_iter(self, runner: Runner, batch_idx: int, *args, **kwargs) -> None:
        """Stop after a step."""
        if (batch_idx + 1) % _steps_a_round(runner.optim_wrapper) == 0 and self._agreed():
            self._save_and_exit(runner, batch_idx + 1)

    def after_val_iter(self, runner: Runner, *args, **kwargs) -> None:
        """Stop in a validation, if it is part of training."""
        if self._before and self._agreed():
            for hook in runner.hooks:
                if isinstance(hook, EMAHook):  # its weights are in the model during the validation
                    hook.after_val_epoch(runner)
            self._save_and_exit(runner, runner.iter)

    def _agreed(self) -> bool:
        if not is_distributed():
            return self._received is not None
        flag = torch.tensor(float(self._received is not None))
        if torch.cuda.is_available():
            flag = flag.cuda()
        all_reduce(flag, 'max')
        return bool(flag.item())

    def _save_and_exit(self, runner: Runner, step: int) -> None:
        hook = next((h for h in runner.hooks if isinstance(h, VerifiedCheckpointHook)), None)
        if hook is None:
            runner.logger.warning('Stopped without saving: there is no VerifiedCheckpointHook.')
        else:
            path = hook.save_now(runner, step)
            runner.logger.info(
                f'Stopped after iteration {step} and saved {path}; '
                'continue with the same command and "--resume".'
            )
        self._listen_no_more()
        raise SystemExit(STOPPED)


class _WorkerStart:
    """Starts a loader worker that outlives a SIGTERM to all processes of a job.

    The last step needs the worker's samples. torch gives its workers a handler in C, which ends
    them of a SIGTERM that comes from anybody but their parent; it is set before this is called.
    A class of the module and not a closure, since a worker that is spawned unpickles it.

    Args:
        training: Shared with the workers: 1 while training needs them.
        then: The loader's own ``worker_init_fn``.
    """

    def __init__(self, training: c_byte, then: Callable | None):
        self._training = training
        self._then = then

    def __call__(self, number: int) -> None:
        """Install the handlers in worker ``number``."""
        for one in _SIGNALS:
            signal.signal(one, self._handle)
        if self._then is not None:
            self._then(number)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        _end_worker(number, self._training)


def _end_worker(number: int, training: c_byte) -> None:
    if number == signal.SIGTERM and not training.value:
        os._exit(0)  # death by a signal is a failure to torch's loader, which says so


def _steps_a_round(optim_wrapper: OptimWrapper) -> int:
    """After how many iterations no optimizer has gradients that it accumulates."""
    several = isinstance(optim_wrapper, OptimWrapperDict)
    parts = optim_wrapper.values() if several else [optim_wrapper]
    return math.lcm(*(getattr(part, '_accumulative_counts', 1) for part in parts))


def _die_of(number: int) -> None:
    """End this process as the signal would without a handler."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
