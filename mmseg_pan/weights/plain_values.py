"""Values in a form that ``torch.load(weights_only=True)`` reads, and back."""

from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path, PurePath

import numpy as np
import torch

#: What a note calls a value that has no plain form.
LEFT_OUT = 'left out'
# Types that torch's safe loader builds by itself.
_PLAIN = (
    *(type(None), bool, int, float, complex, str, bytes, bytearray),
    *(torch.Size, torch.dtype, torch.device),
)
_FACTORIES = {kind.__name__: kind for kind in (int, float, str, bool, list, dict, set, tuple)}
_NOTHING = object()


def to_plain(value, notes: list | None = None, path: tuple = ()):
    """Replace a value by tensors and plain values of the same content.

    Subclasses of dict, list, tuple, str and numbers become what they extend, and numpy's numbers
    Python's: they are equal. Arrays become tensors or lists, paths strings, and so on;
    :func:`from_plain` undoes that by the notes.

    Args:
        value: Anything. Functions and other objects without a plain form are left out of dicts;
            elsewhere None takes their place.
        notes: Receives (path, kind, detail) for each value that is not equal to its plain form.
        path: Keys and indices that lead to the value.
    """
    plain = _to_plain(value, [] if notes is None else notes, path)
    return None if plain is _NOTHING else plain


def _to_plain(value, notes: list, path: tuple):
    if type(value) in _PLAIN or isinstance(value, torch.Tensor):
        return value
    if isinstance(value, np.ndarray):
        return _plain_array(value, notes, path)
    if isinstance(value, np.generic):
        if value.dtype.kind in 'mMV':
            return _plain_array(np.asarray(value), notes, path)
        return float(value) if isinstance(value, np.longdouble) else value.item()
    if isinstance(value, Mapping):
        return _plain_mapping(value, notes, path)
    if isinstance(value, (list, tuple, deque)):
        if isinstance(value, deque):
            notes.append((path, 'deque', value.maxlen))
        items = [to_plain(item, notes, (*path, i)) for i, item in enumerate(value)]
        return tuple(items) if isinstance(value, tuple) else items
    if isinstance(value, (set, frozenset)):
        return _plain_set(value, notes, path)
    if isinstance(value, (PurePath, range, datetime, timedelta)):
        return _noted(value, notes, path)
    for kind in (str, bytes, int, float, complex):
        if isinstance(value, kind):
            return kind.__str__(value) if kind is str else kind(value)
    notes.append((path, LEFT_OUT, type(value).__name__))
    return _NOTHING


def _noted(value, notes: list, path: tuple):
    if isinstance(value, PurePath):
        kind, plain = 'path', str(value)
    elif isinstance(value, range):
        kind, plain = 'range', (value.start, value.stop, value.step)
    elif isinstance(value, datetime):
        kind, plain = 'datetime', value.isoformat()
    else:
        kind, plain = 'timedelta', (value.days, value.seconds, value.microseconds)
    notes.append((path, kind, None))
    return plain


def _plain_mapping(value: Mapping, notes: list, path: tuple) -> dict | list:
    if isinstance(value, defaultdict):
        name = next((n for n, kind in _FACTORIES.items() if kind is value.default_factory), None)
        notes.append((path, 'defaultdict', name))
    keys, key_notes = [], []
    for number, key in enumerate(value):
        keys.append(to_plain(key, key_notes, (*path, number, 0)))
    if key_notes:  # keys that are no plain values: pairs take the place of the dict
        notes.extend([(path, 'pairs', None), *key_notes])
        items = enumerate(value.values())
        return [[keys[i], to_plain(item, notes, (*path, i, 1))] for i, item in items]
    found = {}
    for key, item in zip(keys, value.values(), strict=True):
        plain = _to_plain(item, notes, (*path, key))
        if plain is not _NOTHING:
            found[key] = plain
    kind = next((kind for kind in (Counter, OrderedDict) if isinstance(value, kind)), dict)
    return kind(found)


def _plain_set(value: set | frozenset, notes: list, path: tuple) -> set | list:
    inner = []
    items = [to_plain(item, inner, (*path, i)) for i, item in enumerate(value)]
    if isinstance(value, set) and not inner:
        return set(items)
    notes.extend([(path, 'set' if isinstance(value, set) else 'frozenset', None), *inner])
    return items


def _plain_array(value: np.ndarray, notes: list, path: tuple):
    kind = value.dtype.kind
    if kind == 'O':
        notes.append((path, 'objects', value.shape))
        return [to_plain(item, notes, (*path, i)) for i, item in enumerate(value.ravel())]
    notes.append((path, 'array', to_plain(value.dtype.descr if kind == 'V' else value.dtype.str)))
    if kind in 'USV':
        return to_plain(value.tolist())
    native = value.astype('i8' if kind in 'mM' else value.dtype.newbyteorder('='))
    return torch.from_numpy(native.astype('f8') if native.dtype == np.longdouble else native)


def from_plain(value, notes: list):
    """Undo :func:`to_plain`, as far as the notes say.

    Args:
        value: What was loaded; changed in place where that is possible.
        notes: As :func:`to_plain` wrote them.
    """
    kinds: dict[tuple, list] = {}
    for path, kind, detail in notes:
        if kind != LEFT_OUT:
            kinds.setdefault(tuple(path), []).append((kind, detail))
    return _restore(value, kinds, ()) if kinds else value


def _restore(value, kinds: dict, path: tuple):
    if isinstance(value, dict):
        for key in value:
            value[key] = _restore(value[key], kinds, (*path, key))
    elif isinstance(value, list):
        value[:] = [_restore(item, kinds, (*path, i)) for i, item in enumerate(value)]
    elif type(value) is tuple:
        value = tuple(_restore(item, kinds, (*path, i)) for i, item in enumerate(value))
    for kind, detail in reversed(kinds.get(path, [])):
        value = _RESTORE[kind](value, detail)
    return value


def _array(value, detail) -> np.ndarray:
    if isinstance(value, torch.Tensor):
        return value.cpu().numpy().astype(detail)
    descr = detail if isinstance(detail, str) else [tuple(field) for field in detail]
    return np.array(value, dtype=descr)


def _objects(value: list, shape: tuple) -> np.ndarray:
    found = np.empty(shape, dtype=object)
    for number, item in enumerate(value):
        found.flat[number] = item
    return found


_RESTORE = {
    'array': _array,
    'objects': _objects,
    'deque': deque,
    'set': lambda value, _: set(value),
    'frozenset': lambda value, _: frozenset(value),
    'pairs': lambda value, _: {key: item for key, item in value},
    'defaultdict': lambda value, name: defaultdict(_FACTORIES.get(name), value),
    'path': lambda value, _: Path(value),
    'range': lambda value, _: range(*value),
    'datetime': lambda value, _: datetime.fromisoformat(value),
    'timedelta': lambda value, _: timedelta(*value),
}
