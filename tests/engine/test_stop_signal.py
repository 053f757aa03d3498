"""SIGTERM and SIGINT: the step is finished, the state saved, and nothing differs afterwards."""

import os
import signal
from types import SimpleNamespace

import pytest
from mmengine.hooks import Hook

from mmseg_pan.engine import StopSignalHook, stop_signal
from tests.engine.runs import differences, in_a_fork, small_cfg, train, trained_state
from tests.processes import send_signal

LOADER = SimpleNamespace(worker_init_fn=None, multiprocessing_context=None)
RUNNER = SimpleNamespace(train_loop=None, train_dataloader=LOADER)
OPTIONS = dict(ema=True, val_interval=3)


class Send(Hook):
    """Send a signal to this process, and to its loader workers, at some point of the run."""

    def __init__(self, where, iteration, number=signal.SIGTERM, workers=False):
        self.where, self.iteration, self.number, self.workers = where, iteration, number, workers

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if self.where == 'step' and batch_idx + 1 == self.iteration:
            self.send(runner)

    def before_val_iter(self, runner, batch_idx, data_batch=None):
        if self.where == 'validation' and runner.iter == self.iteration and batch_idx == 1:
            self.send(runner)

    def send(self, runner):
        if self.workers:
            # By another process: torch has workers leave in peace when their parent says so.
            workers = runner.train_loop.dataloader_iterator._workers
            assert workers
            pids = [worker.pid for worker in workers]
            send_signal(self.number, pids)
            for pid in pids:
                os.kill(pid, 0)  # still there
        os.kill(os.getpid(), self.number)


@pytest.fixture(scope='module')
def straight(tmp_path_factory, toy_root):
    folder = tmp_path_factory.mktemp('straight')
    train(small_cfg(folder, toy_root, **OPTIONS))
    best = {p.name for p in folder.glob('best*')}
    return trained_state(folder / 'iter_6.pth'), best


@pytest.mark.parametrize(
    ('where', 'iteration', 'number', 'workers'),
    [
        ('step', 1, signal.SIGTERM, 0),
        ('step', 3, signal.SIGINT, 2),  # a validation is due after it
        ('step', 4, signal.SIGTERM, 2),  # a checkpoint is due as well
        ('validation', 3, signal.SIGTERM, 0),
        ('validation', 6, signal.SIGINT, 0),
    ],
)
def test_stopped_run_is_saved_and_ends_as_the_undisturbed_one(
    tmp_path, toy_root, straight, capfd, where, iteration, number, workers
):
    cfg = small_cfg(tmp_path, toy_root, workers=workers, **OPTIONS)
    with pytest.raises(SystemExit) as left:
        train(cfg, hooks=[Send(where, iteration, number, workers=workers > 0)])
    assert left.value.code == stop_signal.STOPPED == 75
    assert (tmp_path / f'iter_{iteration}.pth').is_file()
    assert f'{number.name}: finishing the step and saving' in capfd.readouterr().err
    assert signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler)
    train(cfg, resume='newest')
    state, best = straight
    assert differences(trained_state(tmp_path / 'iter_6.pth'), state) == {}
    assert {p.name for p in tmp_path.glob('best*')} == best


def test_gradient_accumulation_is_finished_first(tmp_path, toy_root):
    cfg = small_cfg(tmp_path, toy_root, optim_wrapper__accumulative_counts=4, interval=100)
    with pytest.raises(SystemExit):
        train(cfg, hooks=[Send('step', 1)])
    assert {p.name for p in tmp_path.glob('*.pth')} == {'iter_4.pth'}


def deliver(seconds):
    """Send SIGTERM twice, some seconds apart by the clock that the hook reads."""
    hook = StopSignalHook()
    hook.before_train(RUNNER)
    now = iter([100.0, 100.0 + seconds])
    stop_signal.time.monotonic = lambda: next(now)
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGTERM)


def test_second_signal_ends_the_run_at_once():
    assert in_a_fork(lambda: deliver(1.5)) == signal.SIGTERM


def test_the_same_request_may_come_twice():
    """A terminal signals the whole group, and torchrun its processes once more."""
    assert in_a_fork(lambda: deliver(0.5)) == 0


def test_workers_end_at_sigterm_once_the_training_is_over():
    """Or multiprocessing would wait for them; and not by the signal, of which torch complains."""
    hook = StopSignalHook()

    def worker():
        os.kill(os.getpid(), signal.SIGTERM)

    def ends():
        worker()
        raise AssertionError('not ended')

    def training():
        hook.before_train(RUNNER)
        assert in_a_fork(worker) == 0
        hook._release_workers()
        assert in_a_fork(ends) == 0

    assert in_a_fork(training) == 0


def test_validation_of_a_test_run_is_left_alone():
    """Without training there is nothing to save: signals act as ever."""
    StopSignalHook().after_val_iter(None, 0)
