"""Trust in checkpoints: which objects they may contain, and whether they are intact."""

import os
import pickle
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

from mmseg_pan.errors import UserError

_NUMBERS = ('f2', 'f4', 'f8', 'i1', 'i2', 'i4', 'i8', 'u1', 'u2', 'u4', 'u8', '?', 'U1')


def _history_method(owner, name: str):
    """Stand in for getattr, which pickled HistoryBuffers call for four methods."""
    if owner is not HistoryBuffer or name not in ('min', 'max', 'current', 'mean'):
        raise pickle.UnpicklingError(f'getattr of {name}')
    return getattr(HistoryBuffer, name)


def safe_objects() -> list[tuple]:
    """List what checkpoints of mmengine hold beside tensors; none of it runs code.

    Published checkpoints have numpy's scalars and mmengine's HistoryBuffer in their
    message hub, under the names that numpy 1 or numpy 2 gave them.
    """
    rebuild_array = np.zeros(1).__reduce__()[0]
    rebuild_scalar = np.float64(0).__reduce__()[0]
    types = [np.ndarray, np.dtype, HistoryBuffer, *{type(np.dtype(n)) for n in _NUMBERS}]
    # All by name: OneDL's loader takes its own list away again after each file, and with it what
    # is on both lists in the same form.
    objects = [(kind, f'{kind.__module__}.{kind.__qualname__}') for kind in types]
    for module in ('numpy.core.multiarray', 'numpy._core.multiarray'):
        objects += [(rebuild_array, f'{module}._reconstruct'), (rebuild_scalar, f'{module}.scalar')]
    return [*objects, (_history_method, 'builtins.getattr')]


def allow_safe_objects() -> torch.serialization.safe_globals:
    """Let torch's safe loader restore :func:`safe_objects`, in a context.

    Leaving such a context takes its objects from torch's list, so that an inner one must not
    repeat those of an outer one.
    """
    allowed = torch.serialization.get_safe_globals()
    return torch.serialization.safe_globals([x for x in safe_objects() if x not in allowed])


@contextmanager
def safe_loading(unsafe: bool = False) -> Iterator[None]:
    """Keep every ``torch.load`` of the body from running code of a file.

    OpenMMLab's and OneDL's loaders, and torch's for downloads, differ in what they allow;
    torch's environment variables hold for all of them.

    Args:
        unsafe: The opposite: let files run their code, where somebody asked for it.
    """
    force, never = 'TORCH_FORCE_WEIGHTS_ONLY_LOAD', 'TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD'
    before = os.environ.copy()
    os.environ.pop(force if unsafe else never, None)
    os.environ[never if unsafe else force] = '1'
    try:
        with allow_safe_objects():
            yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def find_damage(path: str | Path) -> str | None:
    """Describe the damage of a file that torch wrote, reading all of it.

    torch itself does not compare the checksums that its zip files hold.

    Returns:
        The fault in a few words; None where there is none, and for torch's old format,
        which holds no checksums.
    """
    path = Path(path)
    try:
        if path.stat().st_size == 0:
            return 'it is empty'
        if not zipfile.is_zipfile(path):
            with open(path, 'rb') as file:
                start = file.read(2)
            if start == b'PK':
                return 'it is cut off'
            return None if start[:1] == pickle.PROTO else 'it is not a file of torch'
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
            return f'checksum of {broken}' if broken else None
    except (OSError, zipfile.BadZipFile, EOFError) as error:
        return str(error) or type(error).__name__


def check_readable(path: str | Path, unsafe: bool = False) -> None:
    """Refuse a checkpoint that is damaged or would run code.

    Args:
        path: A file that is there.
        unsafe: Whether it may run code.

    Raises:
        UserError: Naming the file and what it asks for.
    """
    if Path(path).suffix == '.safetensors':
        return  # no checksums, and no code; read_weights() tells what else is wrong
    damage = find_damage(path)
    if damage:
        raise UserError(f'The checkpoint {path} is damaged ({damage}); copy or train it again.')
    check_trusted(path, unsafe)


def check_trusted(path: str | Path, unsafe: bool = False) -> None:
    """Refuse an intact checkpoint that would run code.

    Args:
        path: A file that is there.
        unsafe: Whether it may run code.

    Raises:
        UserError: Naming the file and what it asks for.
    """
    if unsafe:
        return
    try:
        with allow_safe_objects():
            torch.load(path, map_location='meta', weights_only=True)
    except pickle.UnpicklingError as error:
        wanted = re.findall(r'GLOBAL (\S+)', str(error)) or str(error).splitlines()[:1]
        raise UserError(
            f'The checkpoint {path} holds more than tensors and plain values '
            f'({wanted[0]}) and could run code when loaded; '
            'if you trust its source, type the same command with "--unsafe-load".'
        ) from None
    except (RuntimeError, EOFError, ValueError, OSError) as error:
        raise UserError(
            f'The checkpoint {path} cannot be read ({str(error).splitlines()[0]}); '
            'copy or train it again.'
        ) from None
