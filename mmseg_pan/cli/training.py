"""How the flags of ``tools/train.py`` change a config."""

import inspect

import torch
from mmengine.config import Config
from mmseg.registry import OPTIM_WRAPPERS, OPTIMIZERS

from mmseg_pan.devices import has_bfloat16
from mmseg_pan.engine import ChannelsLastHook
from mmseg_pan.errors import UserError

from .labels import has_hook, registered

#: Optimizer wrappers that may change into one another.
_WRAPPERS = ('OptimWrapper', 'AmpOptimWrapper', 'BFloat16OptimWrapper')


def set_amp(cfg: Config) -> None:
    """Turn on automatic mixed precision: bfloat16, or float16 on a GPU without it.

    Raises:
        UserError: If the config has another optimizer wrapper, or the CPU would emulate
            bfloat16, which takes many times as long as float32.
    """
    if not torch.cuda.is_available() and not has_bfloat16():
        raise UserError(
            '--amp needs a GPU or a CPU with bfloat16 instructions; on this CPU it would take many '
            'times as long as float32; omit --amp, or force it with '
            '"--cfg-options optim_wrapper.type=BFloat16OptimWrapper".'
        )
    kind = _wrapper_kind(cfg, '--amp')
    if torch.cuda.is_available() and not has_bfloat16():
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')
    elif kind == 'OptimWrapper':
        cfg.optim_wrapper.type = 'BFloat16OptimWrapper'


def _wrapper_kind(cfg: Config, flag: str) -> str:
    kind = cfg.optim_wrapper.get('type', 'OptimWrapper')
    kind = getattr(registered(kind, OPTIM_WRAPPERS), '__name__', kind)
    if kind not in _WRAPPERS:
        raise UserError(
            f'{flag} works with optim_wrapper type OptimWrapper, not {kind}; leave {flag} out.'
        )
    return kind


def set_fast_training(cfg: Config) -> None:
    """Make a training step cheaper: channels-last, a fused optimizer, bfloat16 where there is one.

    A mixed precision that the config has chosen stays.

    Raises:
        UserError: If the config's optimizer or its wrapper contradicts.
    """
    kind = _wrapper_kind(cfg, '--fast')
    optimizer = cfg.optim_wrapper.get('optimizer') or {}
    name = optimizer.get('type')
    known = registered(name, OPTIMIZERS)
    if known is None or 'fused' not in inspect.signature(known).parameters:
        raise UserError(
            f'--fast needs an optimizer that torch can fuse, such as SGD or AdamW, and the config '
            f'has {name}; leave --fast out.'
        )
    for key, value in (('fused', False), ('foreach', True), ('differentiable', True)):
        if optimizer.get(key) is value:
            raise UserError(
                f'--fast fuses the optimizer, and the config has {key}={value}; take {key} out of '
                'optim_wrapper.optimizer, or leave --fast out.'
            )
    optimizer.fused = True
    if kind == 'OptimWrapper' and has_bfloat16():
        cfg.optim_wrapper.type = 'BFloat16OptimWrapper'
    if not has_hook(cfg, ChannelsLastHook):
        cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), dict(type='ChannelsLastHook')]


def set_auto_scale_lr(cfg: Config) -> None:
    """Scale the learning rate by batch size over the config's base batch size.

    Raises:
        UserError: If the config does not say for which batch size its learning rate is meant.
    """
    if not cfg.get('auto_scale_lr', {}).get('base_batch_size'):
        raise UserError(
            '--auto-scale-lr needs auto_scale_lr=dict(base_batch_size=...) in the config, and '
            f'{cfg.filename} has none; add "--cfg-options auto_scale_lr.base_batch_size=16".'
        )
    cfg.auto_scale_lr.enable = True


def divide_batch(cfg: Config, processes: int) -> None:
    """Share the total batch of a recipe, ``auto_scale_lr.base_batch_size``, among processes.

    A config that does not state it keeps its batch per process.

    Args:
        cfg: Config, whose ``train_dataloader.batch_size`` is set.
        processes: Of the whole job, on all nodes.

    Raises:
        UserError: If the batch does not divide.
    """
    total = (cfg.get('auto_scale_lr') or {}).get('base_batch_size')
    if not total or 'batch_size' not in cfg.train_dataloader:
        return
    if total % processes:
        fitting = ' or '.join(str(n) for n in range(1, total + 1) if total % n == 0)
        raise UserError(
            f'{cfg.filename} trains on {total} images a step (auto_scale_lr.base_batch_size), and '
            f'{processes} processes cannot share them evenly; start {fitting} processes, or set '
            'another batch with "--cfg-options train_dataloader.batch_size=IMAGES_PER_PROCESS".'
        )
    cfg.train_dataloader.batch_size = total // processes


def drop_validation(cfg: Config) -> None:
    """Train without validation; test the final checkpoint with tools/test.py."""
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    hook = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    hook.pop('save_best', None)
