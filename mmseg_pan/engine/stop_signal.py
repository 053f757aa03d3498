"""On SIGTERM and SIGINT: finish the step, save, exit."""

import atexit
import math
import mmap
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from functools import partial
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
        self._training = mmap.mmap(-1, 1)  # one byte that forks share

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
        self._training[0] = 1
        atexit.register(self._release_workers)  # runs before multiprocessing ends them
        self._before = {number: signal.signal(number, self._handle) for number in _SIGNALS}
        loader = runner.train_dataloader
        context = loader.multiprocessing_context or multiprocessing
        if context.get_start_method() == 'fork':  # others would have to pickle this hook
            loader.worker_init_fn = partial(self._start_worker, loader.worker_init_fn)

    def _start_worker(self, then: Callable | None, number: int) -> None:
        """Install the handlers in a loader worker as well.

        torch gives its workers a handler in C, which ends them of a SIGTERM that comes from
        anybody but their parent: it is set before this function runs.
        """
        for one in _SIGNALS:
            signal.signal(one, self._handle)
        if then is not None:
            then(number)

    def after_train(self, runner: Runner) -> None:
        """Stop listening."""
        self._listen_no_more()

    def _listen_no_more(self) -> None:
        self._release_workers()
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _release_workers(self) -> None:
        self._training[0] = 0

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._owner:
            # A loader worker, forked with this handler. What is sent to all processes of
            # a job must not end it before the last step, which needs its samples.
            if number == signal.SIGTERM and not self._training[0]:
                os._exit(0)  # death by a signal is a failure to torch's loader, which says so
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


def _steps_a_round(optim_wrapper: OptimWrapper) -> int:
    """After how many iterations no optimizer has gradients that it accumulates."""
    several = isinstance(optim_wrapper, OptimWrapperDict)
    parts = optim_wrapper.values() if several else [optim_wrapper]
    return math.lcm(*(getattr(part, '_accumulative_counts', 1) for part in parts))


def _die_of(number: int) -> None:
    """End this process as the signal would without a handler."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
