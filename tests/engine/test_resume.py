"""Exact resume: the interrupted run ends in the weights of the undisturbed one."""

import multiprocessing
import re
import shutil
from pathlib import Path

import mmcv.transforms
import mmseg
import pytest
import torch
from mmengine.config import Config
from mmseg.registry import TRANSFORMS

from tests.engine.runs import BATCH, differences, small_cfg, train, trained_state
from tests.paths import ROOT

LOADED = multiprocessing.Value('i', 0)


@TRANSFORMS.register_module()
class CountLoads(mmcv.transforms.BaseTransform):
    """Count the samples that are loaded, over all workers."""

    def transform(self, results):
        with LOADED.get_lock():
            LOADED.value += 1
        return results


@pytest.fixture(scope='module')
def straight(tmp_path_factory, toy_root):
    """State after six undisturbed iterations, without worker processes."""
    folder = tmp_path_factory.mktemp('straight')
    train(small_cfg(folder, toy_root, ema=True, val_interval=3))
    return trained_state(folder / 'iter_6.pth')


@pytest.mark.parametrize('workers', [0, 1, 3])
def test_stop_and_resume_equal_the_undisturbed_run(tmp_path, toy_root, straight, workers):
    cfg = small_cfg(tmp_path, toy_root, workers=workers, ema=True, val_interval=3)
    train(cfg, stop_after=3)  # one step after the checkpoint: it is done again
    train(cfg, resume='newest', stop_after=4)
    train(cfg, resume='newest')
    found = trained_state(tmp_path / 'iter_6.pth')
    assert len(found) > 500
    assert differences(found, straight) == {}


def test_the_comparison_sees_a_lost_random_state(tmp_path, toy_root, straight, monkeypatch):
    """Without the seeds of steps and samples the runs would differ."""
    for module in ('loop', 'stream'):
        monkeypatch.setattr(f'mmseg_pan.engine.{module}.seed_everything', lambda *key: None)
    train(small_cfg(tmp_path, toy_root, ema=True, val_interval=3))
    assert differences(trained_state(tmp_path / 'iter_6.pth'), straight)


def test_seed_of_the_checkpoint_is_the_runs(tmp_path, toy_root):
    """Without a seed in the config the run draws one, and the resumed run takes it over."""
    cfg = small_cfg(tmp_path, toy_root, randomness=dict(seed=None))
    train(cfg)
    whole = trained_state(tmp_path / 'iter_6.pth')
    for name in ('iter_4.pth', 'iter_6.pth'):
        (tmp_path / name).unlink()
    train(cfg, resume='newest')
    assert differences(trained_state(tmp_path / 'iter_6.pth'), whole) == {}


def test_gradient_accumulation(tmp_path, toy_root):
    cfg = small_cfg(tmp_path / 'a', toy_root, optim_wrapper__accumulative_counts=2)
    train(cfg)
    cfg.work_dir = str(tmp_path / 'b')
    train(cfg, stop_after=5)
    train(cfg, resume='newest')
    whole, resumed = (trained_state(tmp_path / run / 'iter_6.pth') for run in 'ab')
    assert differences(resumed, whole) == {}


@pytest.mark.parametrize(('workers', 'ahead'), [(0, 0), (1, 2)])
def test_a_late_resume_loads_no_sample_more_than_an_early_one(tmp_path, toy_root, workers, ahead):
    cfg = small_cfg(tmp_path / 'a', toy_root, workers=workers)
    cfg.train_dataloader.dataset.pipeline.insert(0, dict(type='CountLoads'))
    train(cfg, stop_after=2)
    counts = {}
    for iteration in (100, 30_000):
        checkpoint = torch.load(tmp_path / 'a/iter_2.pth', weights_only=True)
        checkpoint['meta']['iter'] = iteration
        folder = tmp_path / str(iteration)
        shutil.copytree(tmp_path / 'a', folder)
        (folder / 'iter_2.pth').unlink()
        (folder / 'runs.json').unlink()  # as if copied in by hand
        torch.save(checkpoint, folder / f'iter_{iteration}.pth')
        cfg.work_dir = str(folder)
        cfg.train_cfg.max_iters = iteration + 3
        LOADED.value = 0
        runner = train(cfg, resume='newest')
        assert runner.iter == iteration + 3
        counts[iteration] = LOADED.value
    # Each worker is asked for two batches ahead of the step.
    for count in counts.values():
        assert 3 * BATCH <= count <= (3 + ahead) * BATCH
    if not workers:
        assert counts[100] == counts[30_000]


def test_validation_that_was_due_is_done_first(tmp_path, toy_root):
    """A checkpoint is older than the validation of its iteration: the best one needs it."""
    cfg = small_cfg(tmp_path / 'a', toy_root, val_interval=2)
    train(cfg)
    cfg.work_dir = str(tmp_path / 'b')
    train(cfg, stop_after=2)  # before the validation after iteration 2
    assert not list((tmp_path / 'b').glob('best*'))
    train(cfg, resume='newest')
    best = [sorted(p.name for p in (tmp_path / run).glob('best*')) for run in 'ab']
    assert best[0] == best[1]
    assert len(best[0]) == 1


def test_two_runs_have_bit_equal_losses(tmp_path, toy_root):
    runs = []
    for name, workers in (('a', 0), ('b', 2)):
        runner = train(small_cfg(tmp_path / name, toy_root, iterations=4, workers=workers))
        runs.append(runner.message_hub.get_scalar('train/loss').data[0].tolist())
    assert len(runs[0]) == 4
    assert runs[0] == runs[1]


def test_the_four_lines_in_a_config_of_mmsegs_own(tmp_path, toy_root):
    """Schedule and runtime that the installed mmseg ships, with what docs/trust.md adds."""
    text = (ROOT / 'docs/trust.md').read_text()
    lines = re.search(r'Four lines.*?```python\n(.*?)```', text, re.S)[1]
    assert len(lines.splitlines()) == 4
    base = Path(mmseg.__file__).parent / '.mim/configs/_base_'
    files = [str(base / 'default_runtime.py'), str(base / 'schedules/schedule_20k.py')]
    config = tmp_path / 'config.py'
    config.write_text(f'_base_ = {files}\n{lines}')
    small = small_cfg(tmp_path / 'a', toy_root)
    for name in 'ab':
        cfg = Config.fromfile(config)
        for key in ('model', 'train_dataloader', 'randomness', 'log_level'):
            cfg[key] = small[key]
        cfg.train_cfg.update(max_iters=6)
        cfg.val_cfg = cfg.test_cfg = None
        cfg.default_hooks.checkpoint.interval = 2
        cfg.work_dir = str(tmp_path / name)
        if name == 'b':
            train(cfg, stop_after=3)
        runner = train(cfg, resume='newest' if name == 'b' else None)
        assert type(runner.train_loop).__name__ == 'ResumableTrainLoop'
    whole, resumed = (trained_state(tmp_path / name / 'iter_6.pth') for name in 'ab')
    assert differences(resumed, whole) == {}
