"""The types that a config names: classes and dotted names become registered names."""

import inspect
import re
import sys
from collections.abc import Iterator
from functools import reduce

from mmengine.config import Config
from mmseg.models.segmentors.base import BaseSegmentor
from mmseg.registry import DATASETS, MODELS, TRANSFORMS
from torch import nn

from mmseg_pan.errors import UserError


def plain_types(value):
    """Replace classes, and their dotted names, by the names that the registries know them by."""
    if isinstance(value, dict):
        return {
            key: registered_name(item) if key == 'type' else plain_types(item)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return type(value)(plain_types(item) for item in value)
    return registered_name(value) if inspect.isclass(value) else value


def registered_name(kind) -> str:
    """Return the registered name of a class or of its dotted name; others stay dotted."""
    if inspect.isclass(kind):
        name = f'{kind.__module__}.{kind.__qualname__}'
        return kind.__name__ if kind is find_registered(kind.__name__) else name
    if isinstance(kind, str) and kind.count('.') > 1:
        found = _imported(kind)
        if inspect.isclass(found) and found is find_registered(found.__name__):
            return found.__name__
    return kind


def find_registered(name: str):
    """Look a name up in the registries of models, transforms and data sets; None if unknown."""
    for registry in (MODELS, TRANSFORMS, DATASETS):
        while registry is not None:
            registry.import_from_location()
            if name in registry.module_dict:
                return registry.module_dict[name]
            registry = registry.parent
    return None


def _imported(name: str):
    """Resolve a dotted name within the modules that are imported already."""
    parts = name.split('.')
    for end in range(len(parts) - 1, 0, -1):
        module = sys.modules.get('.'.join(parts[:end]))
        if module is not None:
            return reduce(lambda owner, part: getattr(owner, part, None), parts[end:], module)
    return None


def check_types(values: dict, name: str, imports: bool) -> None:
    """Refuse types that nothing has registered, and those that only an import would find.

    A checkpoint's config imports installed packages alone, and ``registry.build`` would import
    any module that a dotted name begins with.

    Args:
        values: From :func:`for_inference`.
        name: The file that the config comes from.
        imports: Whether that is a config file, whose ``custom_imports`` are imported.

    Raises:
        UserError: Naming the type.
    """
    for kind in () if imports else _types(values):
        if kind.count('.') > 1:
            found = _imported(kind)
            if not (inspect.isclass(found) and issubclass(found, nn.Module)):
                raise UserError(_unknown(kind, name, values, imports))
    for step in values['test_pipeline']:
        if '.' not in step['type'] and find_registered(step['type']) is None:
            raise UserError(_unknown(step['type'], name, values, imports))


def _types(values) -> Iterator[str]:
    if isinstance(values, dict):
        if isinstance(values.get('type'), str):
            yield values['type']
        values = values.values()
    elif not isinstance(values, (list, tuple)):
        return
    for value in values:
        yield from _types(value)


def _unknown(kind: str, name: str, values: dict, imports: bool) -> str:
    modules = (values.get('custom_imports') or {}).get('imports') or []
    modules = [modules] if isinstance(modules, str) else modules
    modules = ', '.join(module for module in modules if module != 'mmseg_pan')
    if imports:
        return (
            f'{name} uses {kind}, which is not registered by its custom_imports '
            f'({modules or "none"}); add the module that defines it, or correct the name.'
        )
    where = f' (of {modules})' if modules else ''
    return (
        f'{name} uses {kind}{where}, which is not registered, and a checkpoint imports installed '
        'packages alone; type "--config FILE" with the config it was trained with, which imports '
        'the module.'
    )


def build_model(cfg: Config, name: str, imports: bool) -> BaseSegmentor:
    """Build the segmentor of a config; for the arguments see :func:`check_types`.

    Raises:
        UserError: If a type is not registered.
    """
    try:
        return MODELS.build(cfg.model)
    except KeyError as error:
        unknown = re.search(r'([\w.]+) is not in the \S+ registry', str(error))
        if unknown is None:
            raise
        raise UserError(_unknown(unknown[1], name, cfg, imports)) from None
