"""Every part of a config: its type is registered, and its class takes its arguments."""

import ast
import inspect
import textwrap
from collections.abc import Iterator
from difflib import get_close_matches
from importlib.util import find_spec

from mmengine.config import Config
from mmengine.registry import Registry, init_default_scope
from mmengine.runner import Runner
from mmseg import registry
from torch import nn
from torch.utils.data import DataLoader

from mmseg_pan.errors import UserError

#: Registry of the parts under a key. Parts under other keys are in one of the others.
_REGISTRIES = dict(
    model=registry.MODELS,
    tta_model=registry.MODELS,
    dataset=registry.DATASETS,
    datasets=registry.DATASETS,
    pipeline=registry.TRANSFORMS,
    transforms=registry.TRANSFORMS,
    tta_pipeline=registry.TRANSFORMS,
    optim_wrapper=registry.OPTIM_WRAPPERS,
    optimizer=registry.OPTIMIZERS,
    param_scheduler=registry.PARAM_SCHEDULERS,
    train_cfg=registry.LOOPS,
    val_cfg=registry.LOOPS,
    test_cfg=registry.LOOPS,
    val_evaluator=registry.METRICS,
    test_evaluator=registry.METRICS,
    default_hooks=registry.HOOKS,
    custom_hooks=registry.HOOKS,
    visualizer=registry.VISUALIZERS,
    sampler=registry.DATA_SAMPLERS,
)
_EVERY = [value for value in vars(registry).values() if isinstance(value, Registry)]
#: Keys whose dicts are read by code that takes some of the arguments for itself.
_READ_BY_OTHERS = ('init_cfg', 'norm_cfg', 'act_cfg', 'conv_cfg', 'upsample_cfg')
#: What mmengine itself takes from the dict of a part.
_COMMON = {'type', '_scope_', 'priority'}
_WRAPPER = {'optimizer', 'constructor', 'paramwise_cfg', 'type'}
_LOADER = {'dataset', 'sampler', 'batch_sampler', 'collate_fn', 'worker_init_fn'}
_LOADER |= {'num_batch_per_epoch'}
#: Libraries whose parts are looked into; those of others may use "type" for something else.
KNOWN = ('mmseg_pan', 'mmseg', 'mmengine', 'mmcv', 'mmpretrain', 'torch')
#: Read from the top level by tools or the Runner, beside the Runner's own arguments.
_TOP = {'default_scope', 'custom_imports', 'runner_type', 'sync_bn', 'model_wrapper_cfg'}
_TOP |= {'tta_model', 'tta_pipeline', 'test_pipeline', 'auto_scale_lr', 'find_unused_parameters'}
_TOP |= {'log_level', 'compile', 'activation_checkpointing', 'detect_anomalous_params'}


def apply_options(cfg: Config, options: dict) -> None:
    """Change a config as ``--cfg-options`` says.

    Raises:
        UserError: If an option is one that nothing reads, or names an entry that a list has not.
    """
    known = _TOP | set(inspect.signature(Runner.__init__).parameters) - {'self', 'cfg'}
    for key, value in options.items():
        first = key.split('.')[0]
        if first not in known:
            raise UserError(
                f'--cfg-options {key}: nothing reads {first} at the top level of a config'
                f'{_hint(first, known)}; name the whole key, as in train_dataloader.batch_size=8.'
            )
        _make_place(cfg, key, value)
    cfg.merge_from_dict(options)


def _walk_along(values, key: str) -> Iterator[tuple[str, object, str]]:
    """Walk along a dotted key: the place so far, what is there, and the part that leads on."""
    parts = key.split('.')
    for number, part in enumerate(parts):
        yield '.'.join(parts[:number]), values, part
        values = _named_by(values, part)


def _named_by(values, part: str):
    """What a part of a dotted key names in a dict or a list; None where there is no such thing."""
    if isinstance(values, (list, tuple)):
        return values[int(part)] if part.isdecimal() and int(part) < len(values) else None
    return values.get(part) if isinstance(values, dict) else None


def value_at(values: dict, key: str):
    """The value under a dotted key, such as 'train_cfg.max_iters'; None where there is none."""
    *_, (_, here, part) = _walk_along(values, key)
    return _named_by(here, part)


def _make_place(cfg: Config, key: str, value) -> None:
    """Turn a None on an option's way into a dict; refuse what has no entries."""
    for place, here, part in _walk_along(cfg._cfg_dict, key):
        if isinstance(here, (list, tuple)):
            if not part.isdecimal() or int(part) >= len(here):
                raise UserError(
                    f'--cfg-options {key}: {place} is a list of {len(here)}; name an entry by a '
                    f'number from 0 to {len(here) - 1}.'
                )
        elif isinstance(here, dict):
            last = f'{place}.{part}'.lstrip('.') == key
            if not last and part in here and here[part] is None:
                here[part] = {}
            if part not in here:
                return
        else:
            raise UserError(
                f'--cfg-options {key}: {place} is {here!r} and has no {part}; correct the key.'
            )
    here = value_at(cfg._cfg_dict, key)
    # A dict cannot be merged into what is none.
    if isinstance(value, dict) and not isinstance(here, (dict, list)) and here is not None:
        raise UserError(f'--cfg-options {key}: it is {here!r}, which takes no dict.')


def check_parts(cfg: Config) -> None:
    """Check types and arguments of every part that a config names.

    Raises:
        UserError: Naming the part.
    """
    init_default_scope(cfg.get('default_scope') or 'mmseg')
    values = cfg.to_dict()
    for key, found in _REGISTRIES.items():
        for place, part in _listed(key, values.get(key)):
            if key == 'default_hooks':
                for name, hook in part.items():
                    if isinstance(hook, dict):
                        _check_part(f'{place}.{name}', hook, found)
            else:
                _check_part(place, part, found)
    for split in ('train', 'val', 'test'):
        for place, loader in _listed(f'{split}_dataloader', values.get(f'{split}_dataloader')):
            _check_names(place, loader, _LOADER | _arguments(DataLoader))
            _check_nested(place, loader)


def _listed(place: str, value) -> Iterator[tuple[str, dict]]:
    """The dicts of an entry that is one, or a list of them, with their places."""
    if isinstance(value, dict):
        yield place, value
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _listed(f'{place}.{index}', item)


def _check_part(place: str, part: dict, found: Registry | None) -> None:
    kind = part.get('type')
    if kind is None and found is registry.OPTIM_WRAPPERS:
        kind = 'OptimWrapper'
    owner = _resolve(place, kind, found) if isinstance(kind, str) else kind
    if kind is not None and (owner is None or owner.__module__.split('.')[0] not in KNOWN):
        return
    if owner is not None and owner.__name__ == 'Albu':  # its types are albumentations' own
        return
    _check_nested(place, part)  # first: where a library is missing, classes have fewer arguments
    if callable(owner):
        if found is registry.OPTIM_WRAPPERS:
            if not part.get('constructor'):
                _check_names(place, part, _WRAPPER | (_arguments(owner) or set()))
        elif place.split('.')[-1] not in _READ_BY_OTHERS:
            names = _arguments(owner)
            if names is not None:
                _check_names(place, part, names | _COMMON)


def _check_nested(place: str, part: dict) -> None:
    for key, value in part.items():
        for where, item in _listed(f'{place}.{key}', value):
            if key == 'init_cfg':
                continue  # its layers and overrides are names of other kinds
            if 'type' in item:
                usual = None if place.startswith('model') else _REGISTRIES.get(key)
                _check_part(where, item, usual)
            else:
                _check_nested(where, item)


def _resolve(place: str, kind: str, usual: Registry | None):
    """The class of a type; None if only an import would find it."""
    if kind.count('.') > 1:
        return None
    scope = kind.rpartition('.')[0]
    if scope and find_spec(scope) is None:
        raise UserError(
            f'{place} is of type {kind}, and {scope} is not installed; type "pip install {scope}".'
        )
    if scope:
        return None
    if kind == 'TIMMBackbone' and find_spec('timm') is None:
        raise UserError(f'{place} is of type {kind}, which needs timm; type "pip install timm".')
    for one in [usual] if usual is not None else _EVERY:
        found = one.get(kind)
        if found is not None:
            return found
    names = {name for one in ([usual] if usual is not None else _EVERY) for name in _names(one)}
    raise UserError(f'{place} is of type {kind}, which is not registered{_hint(kind, names)}.')


def _names(one: Registry | None) -> set[str]:
    names = set()
    while one is not None:
        names |= set(one.module_dict)
        one = one.parent
    return names


def _arguments(owner) -> set[str] | None:
    """Names of the arguments that a class or function takes; None: any.

    A class with ``**kwargs`` takes those of its bases too, and whatever its own code names.
    """
    if not inspect.isclass(owner):
        parameters = inspect.signature(owner).parameters.values()
        return None if _is_open(parameters) else {p.name for p in parameters}
    names = set()
    for one in owner.__mro__:
        if '__init__' not in vars(one):
            continue
        if one is object or one is nn.Module:
            return names if one is object else None
        parameters = inspect.signature(one.__init__).parameters.values()
        names |= {p.name for p in parameters if p.kind is not p.VAR_KEYWORD}
        if not _is_open(parameters):
            return names
        taken = _taken_by_base(one.__init__)
        if taken is None:
            return None
        names |= taken
    return None


def _is_open(parameters) -> bool:
    return any(p.kind is p.VAR_KEYWORD for p in parameters)


def _taken_by_base(init) -> set[str] | None:
    """Strings in an ``__init__`` that hands its ``**kwargs`` to its base's, and nowhere else.

    It may take these from the ``**kwargs`` first. None: somebody else gets the arguments.
    """
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(init))))
    except (OSError, SyntaxError):  # no source: it may do anything
        return None
    name = tree.body[0].args.kwarg.arg
    handed = [
        getattr(node.func, 'attr', None)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for word in node.keywords
        if word.arg is None and getattr(word.value, 'id', None) == name
    ]
    if handed != ['__init__']:
        return None
    constants = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return {value for value in constants if isinstance(value, str) and value.isidentifier()}


def _check_names(place: str, part: dict, names: set[str]) -> None:
    for key in part:
        if key not in names:
            what = type_name(part, place)
            raise UserError(
                f'{place} has {key}={str(part[key])[:40]}, and {what} takes no {key}'
                f'{_hint(key, names)}; correct the name, or leave it out.'
            )


def type_name(part: dict, place: str) -> str:
    """What a part's type is called in a sentence; where it has none, its place."""
    kind = part.get('type') or place
    return kind if isinstance(kind, str) else kind.__name__


def _hint(name: str, known) -> str:
    """The nearest known name, as a part of a sentence."""
    lower = {one.lower(): one for one in known if isinstance(one, str)}
    close = get_close_matches(name.lower(), lower, n=1, cutoff=0.6)
    return f' (did you mean {lower[close[0]]}?)' if close else ''
