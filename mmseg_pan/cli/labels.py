"""Data set, network and metric must ignore the same id, set in one place of a config."""

import inspect
from collections.abc import Iterator

from mmengine.config import Config
from mmseg.evaluation import IoUMetric
from mmseg.registry import HOOKS, METRICS, TRANSFORMS

from mmseg_pan.configs.contents import single_entries
from mmseg_pan.errors import UserError

#: MMSegmentation's default. Its loader also gives this id to pixels that
#: reduce_zero_label and a subset of classes leave out.
USUAL = 255


def registered(kind, registry):
    """The class that a ``type`` of a config names; None if it is not known yet."""
    return registry.get(kind) if isinstance(kind, str) else kind


def is_a(kind, registry, base: type) -> bool:
    """Whether what a config names as ``type`` is a class, or a subclass of it."""
    found = registered(kind, registry)
    return inspect.isclass(found) and issubclass(found, base)


def has_hook(cfg: Config, kind: type) -> bool:
    """Whether ``custom_hooks`` has a hook of a class, however that is named."""
    hooks = entries(cfg.get('custom_hooks'))
    return any(registered(hook.get('type'), HOOKS) is kind for hook in hooks)


def as_list(value) -> list:
    """A list of what is one value or several."""
    return list(value) if isinstance(value, (list, tuple)) else [value]


def entries(value) -> list[dict]:
    """The dicts of a config entry that is a dict, a list of them, or nothing."""
    return [item for item in as_list(value) if isinstance(item, dict)]


def settle_ignore_index(cfg: Config) -> None:
    """Apply the ``ignore_index`` set in one place to data sets, heads, metrics and padding.

    Args:
        cfg: Config, changed in place where it sets an id other than 255.

    Raises:
        UserError: If two places set different ids, or the id cannot be in a mask.
    """
    owners = [*_datasets(cfg), *heads(cfg), *_metrics(cfg)]
    values = [
        (name, item['ignore_index'])
        for name, item in owners
        if item.get('ignore_index') is not None
    ]
    if not values:
        return
    first, chosen = values[0]
    for name, value in values[1:]:
        if value != chosen:
            raise UserError(
                f'{first} has ignore_index={chosen}, and {name} has ignore_index={value}; set both '
                'to the id that the masks use, or only one of them.'
            )
    if chosen == USUAL:
        return
    if not (isinstance(chosen, int) and 0 <= chosen < USUAL):
        raise UserError(
            f'{first} has ignore_index={chosen}, and a mask holds ids from 0 to 255; set it to the '
            'one that the masks use.'
        )
    for _, item in owners:
        if item.get('ignore_index', USUAL) is not None:  # None: of losses that ignore nothing
            item['ignore_index'] = chosen
    for item in _nested([cfg.get('model'), cfg.get('data_preprocessor')]):
        pads = str(item.get('type')).endswith('PreProcessor') or 'seg_pad_val' in item
        if pads and item.get('seg_pad_val', USUAL) == USUAL:
            item['seg_pad_val'] = chosen
    for split in ('train', 'val', 'test'):
        for item in _nested(cfg.get(f'{split}_dataloader')):
            _pad_with(item, chosen)


def check_ignore_index(cfg: Config, dataset, split: str) -> None:
    """Refuse a data set whose ignored id differs from that of network and metrics.

    Args:
        cfg: Config, after :func:`settle_ignore_index`.
        dataset: The data set of a split, without wrappers.
        split: 'train', 'val' or 'test'.

    Raises:
        UserError: If they differ.
    """
    ignored = getattr(dataset, 'ignore_index', None)
    if ignored is None:
        return
    others = [*heads(cfg), *((n, i) for n, i in _metrics(cfg) if n.startswith(split))]
    for name, item in others:
        value = item.get('ignore_index', USUAL)
        if value is not None and value != ignored:
            raise UserError(
                f'{split}_dataloader.dataset has ignore_index={ignored}, and {name} has '
                f'ignore_index={value}; set both to the id that the masks use.'
            )
    left_out = 'reduce_zero_label=True' if getattr(dataset, 'reduce_zero_label', False) else None
    if USUAL in (getattr(dataset, 'label_map', None) or {}).values():
        left_out = left_out or 'classes that are left out'
    if left_out and ignored != USUAL:
        raise UserError(
            f'{split}_dataloader.dataset has ignore_index={ignored} and {left_out}, which '
            f'MMSegmentation loads as {USUAL}; set ignore_index={USUAL} and write {USUAL} into the '
            'masks where nothing counts.'
        )


def _datasets(cfg: Config) -> Iterator[tuple[str, dict]]:
    for split in ('train', 'val', 'test'):
        for loader in entries(cfg.get(f'{split}_dataloader')):
            yield from single_entries(f'{split}_dataloader.dataset', loader.get('dataset') or {})


def heads(cfg: Config) -> Iterator[tuple[str, dict]]:
    """Decode and auxiliary heads of a config, with their places."""
    model = cfg.get('model') or {}
    prefix = 'model'
    while isinstance(model.get('module'), dict):  # test-time augmentation
        model, prefix = model['module'], f'{prefix}.module'
    for key in ('decode_head', 'auxiliary_head'):
        found = entries(model.get(key))
        for index, head in enumerate(found):
            yield f'{prefix}.{key}' + (f'[{index}]' if len(found) > 1 else ''), head


def _metrics(cfg: Config) -> Iterator[tuple[str, dict]]:
    """Metrics that count IoU, and others that name an ignored id."""
    for split in ('val', 'test'):
        for metric in entries(cfg.get(f'{split}_evaluator')):
            if is_a(metric.get('type'), METRICS, IoUMetric) or 'ignore_index' in metric:
                yield f'{split}_evaluator', metric


def _nested(value) -> Iterator[dict]:
    if isinstance(value, dict):
        yield value
        for item in value.values():
            yield from _nested(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _nested(item)


def _pad_with(item: dict, chosen: int) -> None:
    """Make a transform pad labels with an id, and count without it, where it would take 255."""
    kind = registered(item.get('type'), TRANSFORMS)
    if not inspect.isclass(kind):
        return
    for name, parameter in inspect.signature(kind.__init__).parameters.items():
        value = item.get(name, parameter.default)
        if name in ('ignore_index', 'seg_pad_val') and value == USUAL:
            item[name] = chosen
        elif name == 'pad_val' and isinstance(value, dict) and value.get('seg') == USUAL:
            item[name] = dict(value, seg=chosen)
        elif name == 'pad_val' and isinstance(value, (int, float)) and kind.__name__ == 'Pad':
            item[name] = dict(img=value, seg=chosen)  # a number is for the image; labels get 255
