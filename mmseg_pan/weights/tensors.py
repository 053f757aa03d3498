"""Weight files: read without running code, written atomically."""

import io
import pickle
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from mmseg_pan.errors import UserError
from mmseg_pan.files import disk_errors_explained, write_whole
from mmseg_pan.outputs import MARK, name_output

from .trust import find_damage

#: Where training scripts keep the weights inside a checkpoint.
WRAPPERS = ('state_dict', 'model')


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Read named tensors from a .pth or .safetensors file.

    Args:
        path: A plain state dict, or a checkpoint with one under 'state_dict' or 'model';
            the prefix 'module.' of DataParallel is taken off.

    Raises:
        UserError: If the file does not exist, is damaged, holds objects that need code to
            restore, or holds no tensors by name.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f'The weights {path} do not exist; give a .pth or .safetensors file.')
    state = _read_safetensors(path) if path.suffix == '.safetensors' else _read_torch(path)
    return named_tensors(state, path)


def named_tensors(state, path: str | Path) -> dict[str, Tensor]:
    """Find the tensors in what a weight file holds, see :func:`read_weights`.

    Raises:
        UserError: If there are none by name.
    """
    for key in WRAPPERS:
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise UserError(
            f'{path} holds {type(state).__name__} and not tensors by name; save it again with '
            '"torch.save(model.state_dict(), FILE)".'
        )
    return {str(key).removeprefix('module.'): value for key, value in state.items()}


def in_float32(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Convert half precision to float32; integers, like batch norm's counters, keep their type."""
    return {k: v.float() if v.is_floating_point() else v for k, v in state.items()}


def _read_torch(path: Path):
    if damage := find_damage(path):  # what is no pickle makes torch raise anything
        raise UserError(
            f'{path} cannot be read as weights ({damage}); it must be a whole file of tensors, as '
            '"torch.save(model.state_dict(), FILE)" writes it.'
        )
    try:
        return torch.load(path, map_location='cpu', weights_only=True)
    except (RuntimeError, EOFError, OSError, ValueError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f'{path} cannot be read as weights ({reason}); it must be a whole file of tensors, as '
            '"torch.save(model.state_dict(), FILE)" writes it.'
        ) from None


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        from safetensors.torch import load_file
    except ImportError:
        raise UserError(f'{path} needs safetensors; type "pip install safetensors".') from None
    try:
        return load_file(path)
    except Exception as error:  # its class is not public
        raise UserError(f'{path} cannot be read as weights ({error}); download it again.') from None


def name_weights(path: str | Path, inputs: Iterable[Path] = ()) -> Path:
    """Determine the name of a weight file before the work begins.

    Args:
        path: As the user typed it.
        inputs: Files that the tool reads.

    Raises:
        UserError: If it does not end in .pth, or cannot be a result's name, see
            :func:`mmseg_pan.outputs.name_output`.
    """
    path = Path(path)
    if path.suffix != '.pth':
        raise UserError(f'The output {path} must end in .pth; type such a name.')
    return name_output(path, '.pth', inputs=inputs, option='name')


def write_weights(state: dict[str, Tensor], path: str | Path, meta: dict) -> None:
    """Write a checkpoint that MMSeg's ``init_cfg`` takes; it appears under its name when whole.

    Args:
        state: Tensors by name.
        path: The file.
        meta: Plain values to keep beside them.

    Raises:
        UserError: If the disk is full or may not be written.
    """
    path = Path(path)
    buffer = io.BytesIO()
    torch.save(dict(meta={**meta, 'file': MARK}, state_dict=state), buffer)
    with disk_errors_explained(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, buffer.getvalue())
