"""Small real training runs, and what is left of them."""

import os
import random
from pathlib import Path
from unittest import mock

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from torch import Tensor

from mmseg_pan import cli
from mmseg_pan.engine import StopSignalHook
from mmseg_pan.engine.resume import set_resume
from tests.paths import ROOT

BATCH = 2


class InterruptionError(Exception):
    """Ends a run as an unforeseen error would."""


class InterruptHook(Hook):
    """Raise after an iteration, once its checkpoint is written."""

    priority = 'LOWEST'

    def __init__(self, iteration: int):
        self.iteration = iteration

    def after_train_iter(self, runner, batch_idx, *args, **kwargs):
        if batch_idx + 1 == self.iteration:
            raise InterruptionError


def small_cfg(
    work_dir: Path,
    toy_root: Path,
    iterations: int = 6,
    workers: int = 0,
    ema: bool = False,
    val_interval: int = 100,
    interval: int = 2,
    **options,
) -> Config:
    """Return the toy config for a few iterations, with augmentation and dropout.

    Args:
        work_dir: Where results go.
        toy_root: Toy set of 64x64.
        iterations: Length of the schedule.
        workers: Loader processes.
        ema: Whether averaged weights are kept.
        val_interval: Iterations between validations.
        interval: Iterations between checkpoints.
        **options: More changes; two underscores stand for a dot.
    """
    cfg = Config.fromfile(ROOT / 'configs/pan/pan_r18-d16_toy.py')
    cfg.work_dir = str(work_dir)
    for split in ('train', 'val', 'test'):
        loader = cfg[f'{split}_dataloader']
        loader.update(num_workers=workers, persistent_workers=workers > 0)
        loader.dataset.data_root = str(toy_root)
    cfg.train_dataloader.batch_size = BATCH
    cfg.train_dataloader.dataset.pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations'),
        dict(type='RandomResize', scale=(64, 64), ratio_range=(0.5, 2.0), keep_ratio=True),
        dict(type='RandomCrop', crop_size=(64, 64), cat_max_ratio=0.75),
        dict(type='RandomFlip', prob=0.5),
        dict(type='PhotoMetricDistortion'),
        dict(type='PackSegInputs'),
    ]
    cfg.model.data_preprocessor.size = (64, 64)
    cfg.model.decode_head.dropout_ratio = 0.5
    cfg.randomness = dict(seed=0)
    cfg.train_cfg.update(max_iters=iterations, val_interval=val_interval)
    cfg.default_hooks.checkpoint.update(interval=interval, max_keep_ckpts=-1)
    cfg.default_hooks.logger.interval = 1
    cfg.log_level = 'WARNING'
    if ema:
        cfg.custom_hooks.append(dict(type='EMAHook', momentum=0.1, update_buffers=True))
    cfg.merge_from_dict({key.replace('__', '.'): value for key, value in options.items()})
    return cfg


def train(cfg: Config, resume: str | None = None, stop_after: int | None = None, hooks=()):
    """Train, as tools/train.py does; ``stop_after`` ends it after that iteration.

    Returns:
        The runner.
    """
    for generator in (random.seed, torch.manual_seed):
        generator(random.SystemRandom().getrandbits(30))  # nothing may hang on the process
    cfg = cfg.copy()
    cfg.experiment_name = f'run{random.SystemRandom().getrandbits(60)}'
    set_resume(cfg, resume)
    # mmengine formats the config with yapf again and again: half of such a short run.
    with mock.patch.object(Config, 'pretty_text', 'left out'):
        return _train(cfg, stop_after, hooks)


def _train(cfg: Config, stop_after: int | None, hooks):
    runner = cli.build_runner(cfg)
    for hook in hooks:
        runner.register_hook(hook)
    if stop_after is not None:
        runner.register_hook(InterruptHook(stop_after))
    try:
        train_until(runner, stop_after)
    finally:
        end_workers(runner)
        release_signals(runner)
    return runner


def release_signals(runner) -> None:
    """Give the signals back, as the end of the process would have done."""
    for hook in runner.hooks:
        if isinstance(hook, StopSignalHook):
            hook._listen_no_more()


def train_until(runner, stop_after: int | None) -> None:
    """Train, and check that an InterruptHook ended it if one was to."""
    try:
        runner.train()
    except InterruptionError:
        assert stop_after is not None
    else:
        assert stop_after is None, 'the run was not interrupted'


def end_workers(runner) -> None:
    """End the loader processes of training and validation."""
    iterators = [getattr(runner.train_loop, 'dataloader_iterator', None)]
    loops = filter(None, (runner.train_loop, runner.val_loop))
    iterators += [getattr(loop.dataloader, '_iterator', None) for loop in loops]
    for iterator in iterators:
        end_loader(iterator)


def end_loader(iterator) -> None:
    """End loader processes now: left to the garbage collector they take five seconds each."""
    if hasattr(iterator, '_shutdown_workers'):
        iterator._shutdown_workers()


def tensors(value, name: str = '') -> dict[str, Tensor]:
    """Name every tensor and number in nested dicts and lists."""
    if isinstance(value, dict):
        value = value.items()
    elif isinstance(value, (list, tuple)):
        value = enumerate(value)
    elif isinstance(value, (Tensor, int, float)):
        return {name: torch.as_tensor(value)}
    else:
        return {}
    return {k: v for key, item in value for k, v in tensors(item, f'{name}.{key}').items()}


def trained_state(path: Path) -> dict[str, Tensor]:
    """Everything in a checkpoint that training continues from, and what it has learnt."""
    checkpoint = torch.load(path, weights_only=True)
    parts = ('state_dict', 'ema_state_dict', 'optimizer', 'param_schedulers')
    return tensors({part: checkpoint[part] for part in parts if part in checkpoint})


def differences(a: dict[str, Tensor], b: dict[str, Tensor]) -> dict[str, float]:
    """Largest difference of every tensor that is not the same in both, bit for bit."""
    assert a.keys() == b.keys()
    return {
        k: (a[k].double() - b[k].double()).abs().max().item()
        for k in a
        if not torch.equal(a[k], b[k])
    }


def in_a_fork(action) -> int:
    """Run an action in a forked process that may die of it.

    Returns:
        0, or the signal that ended it.
    """
    child = os.fork()
    if not child:
        code = 1
        try:
            action()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
