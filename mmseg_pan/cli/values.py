"""Values that a class does not take: the parts of a config are tried once, before a run begins."""

import copy
import random
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import Registry
from mmengine.structures import PixelData
from mmseg import registry
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.structures import SegDataSample
from torch import nn

from mmseg_pan.errors import UserError
from mmseg_pan.models import FPAHead

from .fitting import pipelines
from .labels import entries, heads
from .parts import KNOWN, type_name


def check_values(cfg: Config) -> None:
    """Build network, transforms and metrics of a config, compute each head's loss, and drop them.

    An error counts as the user's where it is raised inside MMSegmentation, the libraries below it
    or torch. One that is raised elsewhere is a fault of that code: the run shows its traceback.

    Raises:
        UserError: Naming the part and what its class says.
    """
    for place, part, found in _parts_to_build(cfg):
        built = _built(place, part, found)
        if isinstance(built, BaseDecodeHead) and _loss_is_plain(type(built)):
            _tried(f'{place}.loss_decode', 'the loss', lambda head=built: _loss(head))


def check_loading(split: str, dataset) -> None:
    """Load the first image of a data set: some values of a pipeline are read no earlier.

    Args:
        split: 'train', 'val' or 'test'.
        dataset: What was built of its loader.

    Raises:
        UserError: Naming the loader and what its pipeline says.
    """

    def load() -> None:
        try:
            dataset[0]
        except KeyError as error:
            if error.args != ('seg_map_path',):
                raise
            raise UserError(
                f'{split}_dataloader loads annotations, and its data set has none; set '
                'data_prefix.seg_map_path, or take LoadAnnotations out of the pipeline.'
            ) from None

    if len(dataset):
        _tried(f'{split}_dataloader', 'the pipeline', load)


def _parts_to_build(cfg: Config) -> Iterator[tuple[str, dict, Registry]]:
    model = cfg.get('model') or {}
    for key in ('data_preprocessor', 'backbone', 'neck'):
        for part in entries(model.get(key)):
            yield f'model.{key}', part, registry.MODELS
    for name, head in heads(cfg):
        yield name, head, registry.MODELS
    for split in ('train', 'val', 'test'):
        for loader in entries(cfg.get(f'{split}_dataloader')):
            for steps in pipelines(loader.get('dataset')):
                for number, step in enumerate(steps):
                    place = f'{split}_dataloader, step {number} of the pipeline'
                    yield place, step, registry.TRANSFORMS
        for metric in entries(cfg.get(f'{split}_evaluator')):
            if not metric.get('output_dir'):  # which it would make
                yield f'{split}_evaluator', metric, registry.METRICS


def _loss_is_plain(head: type[BaseDecodeHead]) -> bool:
    """Whether the loss depends on nothing but logits and labels."""
    return (
        head.loss_by_feat in (BaseDecodeHead.loss_by_feat, FPAHead.loss_by_feat)
        and head.loss is BaseDecodeHead.loss
        and head._stack_batch_gt is BaseDecodeHead._stack_batch_gt
    )


def _loss(head: BaseDecodeHead, side: int = 32) -> dict:
    """The loss of two small images of the first class."""
    samples = [
        SegDataSample(gt_sem_seg=PixelData(data=torch.zeros(1, side, side, dtype=torch.long)))
        for _ in range(2)
    ]
    return head.loss_by_feat(torch.zeros(2, head.out_channels, side, side), samples)


def _without(part: dict, name: str) -> dict:
    return {key: value for key, value in part.items() if key != name}


def check_optimizer(cfg: Config) -> None:
    """The same for optimizer and schedulers, which only a training has.

    Raises:
        UserError: Naming the part and what its class says.
    """
    wrapper = cfg.get('optim_wrapper') or {}
    part = wrapper.get('optimizer')
    if not isinstance(part, dict) or wrapper.get('constructor'):
        return
    weights = [nn.Parameter(torch.zeros(1))]
    optimizer = _built('optim_wrapper.optimizer', part, registry.OPTIMIZERS, params=weights)
    if optimizer is None:
        return
    rest = dict(type='OptimWrapper') | _without(wrapper, 'paramwise_cfg')
    built = _built('optim_wrapper', rest, registry.OPTIM_WRAPPERS, optimizer=optimizer)
    if getattr(built, 'clip_grad_kwargs', None):
        weights[0].grad = torch.zeros(1)
        _tried('optim_wrapper.clip_grad', 'clipping', built._clip_grad)
    for number, part in enumerate(entries(cfg.get('param_scheduler'))):
        # Epochs become iterations where the data are known.
        part = _without(part, 'convert_to_iter_based')
        place = f'param_scheduler.{number}'
        _built(place, part, registry.PARAM_SCHEDULERS, optimizer=optimizer)


def _built(place: str, part: dict, found: Registry, **given):
    """What is built of a part; None where only the run can tell."""
    what = type_name(part, place)
    return _tried(place, what, lambda: found.build({**copy.deepcopy(part), **given}))


def _tried(place: str, what: str, action: Callable):
    """What an action returns; None where only the run can tell."""
    try:
        with _random_state_kept():
            return action()
    except UserError:
        raise
    except Exception as error:
        reason = _reason(error)
        if reason is None:
            return None
        raise UserError(
            f'{place}: {what} does not take these values ({reason}); correct them.'
        ) from None


@contextmanager
def _random_state_kept() -> Iterator[None]:
    states = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


def _reason(error: Exception) -> str | None:
    """What a library says of a value; None where the error is one of other code."""
    frames = list(traceback.walk_tb(error.__traceback__))[1:]
    modules = [frame.f_globals.get('__name__', '').split('.')[0] for frame, _ in frames]
    if isinstance(error, ImportError) or not set(modules) <= set(KNOWN):
        return None
    if modules[-1] == 'mmseg_pan':
        return None
    said = error if isinstance(error, OSError) else next(iter(error.args), '')
    text = str(said) or traceback.extract_tb(error.__traceback__)[-1].line
    return ' '.join(f'{type(error).__name__}: {text}'.split())[:150]
