"""Settings of a config that have to fit each other: class weights, sizes, levels, numbers."""

import inspect
from collections.abc import Iterator

from mmengine.config import Config
from mmseg.evaluation import IoUMetric
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import METRICS, MODELS

from mmseg_pan.errors import UserError
from mmseg_pan.evaluation import SelectedIoUMetric
from mmseg_pan.models.fpa import POOLING

from .labels import as_list, entries, heads, is_a, registered
from .parts import value_at

_IOU = dict(
    mIoU=('aAcc', 'mIoU', 'mAcc'),
    mDice=('aAcc', 'mDice', 'mAcc'),
    mFscore=('aAcc', 'mFscore', 'mPrecision', 'mRecall'),
)
#: Keys of numbers, and the least that makes sense.
_LEAST = {
    'train_dataloader.batch_size': 1,
    'val_dataloader.batch_size': 1,
    'test_dataloader.batch_size': 1,
    'train_dataloader.num_workers': 0,
    'val_dataloader.num_workers': 0,
    'test_dataloader.num_workers': 0,
    'train_cfg.max_iters': 1,
    'train_cfg.max_epochs': 1,
    'train_cfg.val_interval': 1,
    'default_hooks.logger.interval': 1,
    'default_hooks.checkpoint.interval': -1,
    'default_hooks.checkpoint.max_keep_ckpts': -1,
}
_RATES = ('lr', 'weight_decay', 'momentum', 'eps')


def without_workers(cfg: Config) -> None:
    """Drop the settings of worker processes from loaders with ``num_workers=0``."""
    for split in ('train', 'val', 'test'):
        for loader in entries(cfg.get(f'{split}_dataloader')):
            if loader.get('num_workers', 0) == 0:
                loader.pop('prefetch_factor', None)
                if loader.get('persistent_workers'):
                    loader['persistent_workers'] = False


def check_fitting(cfg: Config) -> None:
    """Check numbers, class weights, levels, sizes and the metric of the best checkpoint.

    Raises:
        UserError: Naming the settings that do not fit.
    """
    _check_numbers(cfg)
    for name, head in heads(cfg):
        _check_class_weight(name, head)
        _check_levels(cfg, name, head)
        _check_block(name, head)
    neck = (cfg.get('model') or {}).get('neck')
    for item in entries(neck):
        _check_block('model.neck', item)
    _check_crop(cfg)
    _check_mode((cfg.get('model') or {}).get('test_cfg') or {})
    _check_best(cfg)


def _check_numbers(cfg: Config) -> None:
    for key, least in _LEAST.items():
        value = value_at(cfg._cfg_dict, key)
        whole = isinstance(value, int) and not isinstance(value, bool)
        if value is not None and not (whole and value >= least):
            raise UserError(
                f'{key} is {value!r}, and it has to be a whole number, {least} or more; correct it.'
            )
    optimizer = (cfg.get('optim_wrapper') or {}).get('optimizer') or {}
    for name in _RATES:
        value = optimizer.get(name)
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if value is not None and not (number and value >= 0) and not hasattr(value, 'item'):
            raise UserError(
                f'optim_wrapper.optimizer.{name} is {value!r}, and it has to be a number, 0 or '
                'more; correct it.'
            )


def _check_class_weight(name: str, head: dict) -> None:
    kind = registered(head.get('type'), MODELS)
    stock = getattr(kind, 'loss_by_feat', None) is BaseDecodeHead.loss_by_feat
    if not (stock or _is_ours(head)):
        return  # it may count a class of its own, for what is no object
    logits = head.get('out_channels') or head.get('num_classes')
    losses = entries(head.get('loss_decode'))
    for loss in losses:
        weights = loss.get('class_weight')
        if not (logits and isinstance(weights, (list, tuple))):
            continue
        if loss.get('use_sigmoid') and len(weights) != 1:
            raise UserError(
                f'{name}.loss_decode has use_sigmoid and class_weight of {len(weights)} numbers; '
                'MMSegmentation takes one there, the weight of the foreground of a head with one '
                'logit.'
            )
        if not loss.get('use_sigmoid') and len(weights) != logits:
            raise UserError(
                f'{name}.loss_decode has class_weight of {len(weights)} numbers, and {name} has '
                f'num_classes={logits}; give one number a class.'
            )


def _check_block(name: str, part: dict) -> None:
    """Check kernels and pooling of our blocks, which they refuse when they are built."""
    for key in ('kernel_sizes', 'kernel_size', 'low_level_kernel_size'):
        value = part.get(key, 1)
        odd = all(isinstance(k, int) and k > 0 and k % 2 for k in as_list(value))
        if _is_ours(part) and not odd:
            raise UserError(f'{name} has {key}={value}, and kernels are odd; correct it.')
    if _is_ours(part) and part.get('pooling', 'avg') not in POOLING:
        raise UserError(
            f'{name} has pooling={part["pooling"]!r}; choose from {", ".join(POOLING)}.'
        )


def _is_ours(part: dict) -> bool:
    kind = registered(part.get('type'), MODELS)
    return str(getattr(kind, '__module__', '')).startswith('mmseg_pan.')


def _check_levels(cfg: Config, name: str, head: dict) -> None:
    """Check ``in_index`` against the levels that a backbone gives, where no neck changes them."""
    model = cfg.get('model') or {}
    backbone = model.get('backbone')
    if model.get('neck') or not isinstance(backbone, dict):
        return
    levels = backbone.get('out_indices')
    if levels is None and backbone.get('type'):
        kind = registered(backbone['type'], MODELS)
        known = inspect.signature(kind).parameters if inspect.isclass(kind) else {}
        levels = known['out_indices'].default if 'out_indices' in known else None
    if not isinstance(levels, (list, tuple)) or 'in_index' not in head:
        return
    chosen = head['in_index']
    for index in as_list(chosen):
        if isinstance(index, int) and not -len(levels) <= index < len(levels):
            raise UserError(
                f'{name} has in_index={chosen}, and the backbone gives {len(levels)} levels; '
                f'choose from 0 to {len(levels) - 1}.'
            )
    channels = head.get('in_channels')
    both = isinstance(chosen, (list, tuple)) and isinstance(channels, (list, tuple))
    if both and len(chosen) != len(channels):
        raise UserError(
            f'{name} has {len(chosen)} levels in in_index and {len(channels)} in in_channels; '
            'give one number of channels a level.'
        )


def _check_crop(cfg: Config) -> None:
    """Check that images smaller than the crop are padded to its size, not to a smaller one."""
    model = cfg.get('model') or {}
    before = model.get('data_preprocessor') or cfg.get('data_preprocessor') or {}
    size = before.get('size')
    loader = cfg.get('train_dataloader') or {}
    if not (size and isinstance(loader, dict) and loader.get('batch_size', 1) > 1):
        return
    for steps in pipelines(loader.get('dataset')):
        crop = shortest = None
        for step in steps:
            kind = str(step.get('type'))
            if kind.endswith('RandomCrop'):
                crop = step.get('crop_size')
            elif 'Resize' in kind or 'Pad' in kind or 'Mosaic' in kind:
                crop, shortest = None, _shortest(step)
        crop = (crop, crop) if isinstance(crop, int) else crop
        if not (crop and shortest):
            continue
        # Some images are shorter than the crop, and others longer than what they are padded to.
        if shortest[0] < min(crop) and min(shortest[1], *crop) > max(size):
            raise UserError(
                f'The training pipeline crops images of {tuple(crop)}, and batches are padded to '
                f'data_preprocessor.size={tuple(size)}; set both to the same size.'
            )


def _check_mode(test_cfg: dict) -> None:
    """Check how whole images are tested, which is read at the first validation."""
    mode = test_cfg.get('mode', 'whole')
    if mode not in ('whole', 'slide'):
        raise UserError(f'model.test_cfg has mode={mode!r}; choose from whole, slide.')
    missing = [key for key in ('crop_size', 'stride') if not test_cfg.get(key)]
    if mode == 'slide' and missing:
        raise UserError(
            f'model.test_cfg has mode=slide and no {missing[0]}; give crop_size and stride, two '
            'numbers of pixels each, or set mode=whole.'
        )


def _shortest(step: dict) -> tuple[float, float] | None:
    """How long the shorter edge is at most after a random resize, at its lowest and highest."""
    scale, ratios = step.get('scale'), step.get('ratio_range')
    known = str(step.get('type')).endswith('RandomResize') and step.get('keep_ratio')
    if not (known and scale and ratios and all(isinstance(edge, int) for edge in scale)):
        return None
    return min(scale) * ratios[0], min(scale) * ratios[1]


def pipelines(dataset) -> Iterator[list]:
    """The pipelines of a data set and of those inside it."""
    for item in entries(dataset):
        if item.get('pipeline'):
            yield item['pipeline']
        yield from pipelines(item.get('dataset'))
        yield from pipelines(item.get('datasets'))


def _check_best(cfg: Config) -> None:
    """Check that the metric of the best checkpoint is one that the validation measures."""
    hook = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    chosen = hook.get('save_best')
    if not chosen or chosen == 'auto' or not cfg.get('val_evaluator'):
        return
    measured = []
    for metric in entries(cfg.val_evaluator):
        if not is_a(metric.get('type'), METRICS, IoUMetric):
            return
        prefix = f'{metric["prefix"]}/' if metric.get('prefix') else ''
        for name in as_list(metric.get('iou_metrics', 'mIoU')):
            if name not in _IOU:
                raise UserError(
                    f'val_evaluator has iou_metrics={name}, which IoUMetric does not know; choose '
                    f'from {", ".join(_IOU)}.'
                )
            measured += [prefix + key for key in _IOU[name]]
        if is_a(metric.get('type'), METRICS, SelectedIoUMetric):
            measured.append(f'{prefix}mIoU_selected')
    for name in as_list(chosen):
        if name not in measured:
            raise UserError(
                f'default_hooks.checkpoint has save_best={name}, which val_evaluator does not '
                f'measure; choose from {", ".join(measured)}, or add it to iou_metrics.'
            )
