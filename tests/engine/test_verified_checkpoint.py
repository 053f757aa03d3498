"""Checkpoints through kills, full disks and moves."""

import errno
import os
import resource
import shutil
import signal
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from mmengine.runner import find_latest_checkpoint

from mmseg_pan import UserError
from mmseg_pan.engine import VerifiedCheckpointHook
from mmseg_pan.engine.resume import checkpoints
from mmseg_pan.weights.trust import find_damage
from tests.engine.runs import differences, in_a_fork, small_cfg, train, trained_state


@pytest.fixture(scope='module')
def saved(tmp_path_factory, toy_root):
    """A run that has saved twice, with its live runner."""
    folder = tmp_path_factory.mktemp('saved')
    runner = train(
        small_cfg(
            folder, toy_root, iterations=4, val_cfg=None, val_dataloader=None, val_evaluator=None
        )
    )
    return folder, runner


@pytest.fixture
def hook_and_runner(saved, tmp_path, monkeypatch):
    """The hook of that run, writing to a copy of its folder, where two may be kept."""
    folder, runner = saved
    copy = Path(shutil.copytree(folder, tmp_path / 'run'))
    (hook,) = [h for h in runner.hooks if isinstance(h, VerifiedCheckpointHook)]
    monkeypatch.setattr(hook, 'out_dir', str(copy))
    monkeypatch.setattr(hook, 'max_keep_ckpts', 2)
    monkeypatch.setattr(hook, '_own', deepcopy(hook._own))
    monkeypatch.setattr(runner, '_work_dir', str(copy))
    return hook, runner, copy


def save(hook, runner, step=6):
    runner.train_loop._iter = step
    hook._save_checkpoint_with_step(runner, step, dict(epoch=0, iter=step))


def names(folder):
    return {p.name for p in folder.glob('*.pth')}


def test_kill_at_any_byte_leaves_the_previous_checkpoints(hook_and_runner):
    """The kernel itself kills the process when its file reaches a size."""
    hook, runner, folder = hook_and_runner
    size = (folder / 'iter_4.pth').stat().st_size
    offsets = [0, 1, 22, 1000, *(size * i // 16 for i in range(1, 16)), size - 22, size - 1]
    before = trained_state(folder / 'iter_4.pth')

    for offset in offsets:

        def write(offset=offset):
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_FSIZE, (offset, offset))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            save(hook, runner)

        assert in_a_fork(write) == signal.SIGXFSZ
        assert names(folder) == {'iter_2.pth', 'iter_4.pth'}
        assert checkpoints(folder)[0] == folder / 'iter_4.pth'
    assert differences(trained_state(folder / 'iter_4.pth'), before) == {}
    assert len(list(folder.glob('.*.part'))) == len(offsets)  # and the next run removes them:
    hook.before_train(runner)
    assert not list(folder.glob('.*.part'))


CALLS = ('fsync', 'replace', 'unlink', 'rename', 'remove', 'open', 'close')


@pytest.mark.parametrize('when', ['before', 'after'])
def test_kill_at_any_call_leaves_a_whole_newest_checkpoint(hook_and_runner, monkeypatch, when):
    """Die before or after each call that changes the folder, one after the other."""
    hook, runner, folder = hook_and_runner
    runner.train_loop._iter = 6
    before = trained_state(folder / 'iter_4.pth')
    for number in range(100):
        copy = Path(shutil.copytree(folder, folder.with_name(f'run{number}')))

        def write(copy=copy, number=number):
            hook.out_dir, runner._work_dir = str(copy), str(copy)
            left = number

            def deadly(call):
                def wrapped(*args, **kwargs):
                    nonlocal left
                    left -= 1
                    if left < 0 and when == 'before':
                        os.kill(os.getpid(), signal.SIGKILL)
                    result = call(*args, **kwargs)
                    if left < 0:
                        os.kill(os.getpid(), signal.SIGKILL)
                    return result

                return wrapped

            for call in CALLS:
                setattr(os, call, deadly(getattr(os, call)))
            save(hook, runner)

        killed = in_a_fork(write)
        newest = checkpoints(copy)[0]
        assert all(find_damage(p) is None for p in checkpoints(copy))
        assert newest.name in ('iter_4.pth', 'iter_6.pth')
        if newest.name == 'iter_4.pth':
            assert differences(trained_state(newest), before) == {}
            assert names(copy) == {'iter_2.pth', 'iter_4.pth'}
        assert Path(copy, 'last_checkpoint').read_text()
        shutil.rmtree(copy)
        if not killed:
            break
    assert number >= 6, 'fsync, replace, fsync of the folder, the same for the pointer, unlink'
    assert newest.name == 'iter_6.pth'


def test_old_ones_go_when_the_new_one_is_there(hook_and_runner, monkeypatch):
    hook, runner, folder = hook_and_runner
    seen = []
    remove = hook.file_backend.remove
    monkeypatch.setattr(
        hook.file_backend, 'remove', lambda path: (seen.append(names(folder)), remove(path))
    )
    save(hook, runner)
    assert {'iter_2.pth', 'iter_4.pth', 'iter_6.pth'} in seen
    assert names(folder) == {'iter_4.pth', 'iter_6.pth'}


def test_a_checkpoint_that_reads_back_damaged_removes_nothing(hook_and_runner, monkeypatch):
    hook, runner, folder = hook_and_runner
    replace = os.replace

    def rot(source, target):
        data = bytearray(Path(source).read_bytes())
        data[len(data) // 2] ^= 1
        Path(source).write_bytes(data)
        replace(source, target)

    monkeypatch.setattr(os, 'replace', rot)
    with pytest.raises(UserError, match=r'iter_6\.pth was damaged when it was read back'):
        save(hook, runner)
    monkeypatch.undo()
    assert {'iter_2.pth', 'iter_4.pth'} <= names(folder)
    assert Path(folder, 'last_checkpoint').read_text().endswith('iter_4.pth')


def test_full_disk_is_a_sentence_and_loses_nothing(hook_and_runner, monkeypatch):
    hook, runner, folder = hook_and_runner

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(UserError, match=r'The disk that holds .* is full; free space and type'):
        save(hook, runner)
    assert names(folder) == {'iter_2.pth', 'iter_4.pth'}
    assert not list(folder.glob('.*'))


@pytest.mark.parametrize('part', ['weight', 'running_mean'])
def test_weights_that_are_not_finite_are_never_written(hook_and_runner, part):
    hook, runner, folder = hook_and_runner
    name, value = next(i for i in runner.model.state_dict().items() if i[0].endswith(part))
    kept = value.clone()
    value.view(-1)[0] = float('nan')
    try:
        with pytest.raises(UserError, match=rf'{name} is not finite after 6 iterations, and no'):
            save(hook, runner)
    finally:
        value.copy_(kept)
    assert names(folder) == {'iter_2.pth', 'iter_4.pth'}


def test_pointer_survives_a_move_and_mmengine_reads_it(tmp_path, toy_root):
    cfg = small_cfg(tmp_path / 'old', toy_root, iterations=4)
    train(cfg, stop_after=2)
    assert find_latest_checkpoint(cfg.work_dir) == f'{tmp_path}/old/iter_2.pth'
    (tmp_path / 'old').rename(tmp_path / 'new')
    cfg.work_dir = str(tmp_path / 'new')
    train(cfg, resume='auto', stop_after=3)  # one iteration: nothing is saved here
    assert find_latest_checkpoint(cfg.work_dir) == f'{tmp_path}/new/iter_2.pth'


def test_best_checkpoint_and_number_kept(tmp_path, toy_root, monkeypatch):
    """Through a stop in the middle, with averaged weights: the same files, the same weights."""
    scores = iter([10.0, 30.0, 20.0, 40.0, 40.0])
    monkeypatch.setattr(
        'mmseg.evaluation.IoUMetric.compute_metrics', lambda *a: {'mIoU': next(scores)}
    )
    options = dict(ema=True, val_interval=2, default_hooks__checkpoint__max_keep_ckpts=2)
    cfg = small_cfg(tmp_path, toy_root, iterations=8, **options)
    train(cfg, stop_after=5)
    assert names(tmp_path) == {'iter_2.pth', 'iter_4.pth', 'best_mIoU_iter_4.pth'}
    # Validates 4 (20.0: not better), 6 (40.0) and 8 (the same).
    runner = train(cfg, resume='newest')
    (hook,) = [h for h in runner.hooks if isinstance(h, VerifiedCheckpointHook)]
    assert hook.best_ckpt_path == str(tmp_path / 'best_mIoU_iter_6.pth')  # what is published
    assert names(tmp_path) == {'iter_6.pth', 'iter_8.pth', 'best_mIoU_iter_6.pth'}
    best = torch.load(tmp_path / 'best_mIoU_iter_6.pth', weights_only=True)
    averaged = torch.load(tmp_path / 'iter_6.pth', weights_only=True)
    assert differences(best['state_dict'], averaged['state_dict']) == {}


def test_leaves_later_checkpoints_of_another_run_alone(hook_and_runner):
    hook, runner, folder = hook_and_runner
    for name in ('iter_90.pth', 'best_mIoU_iter_4.pth', 'iter_mine.pth'):
        shutil.copy(folder / 'iter_4.pth', folder / name)
    save(hook, runner)
    assert names(folder) == {
        'iter_4.pth', 'iter_6.pth', 'iter_90.pth', 'best_mIoU_iter_4.pth', 'iter_mine.pth',
    }  # fmt: skip
