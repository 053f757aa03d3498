"""Loading image files as the network's pipeline does, with an error message if that fails."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from mmseg_pan.datasets.reading import BadImageError, Loading, examine
from mmseg_pan.errors import UserError

_COLOUR = Loading()


def read_image(
    path: Path,
    check_size: Callable[[int, int], None] | None = None,
    loading: Loading = _COLOUR,
) -> np.ndarray:
    """Read an image as MMSegmentation's loader does; errors say why it cannot be read.

    Args:
        path: The file.
        check_size: Called with height and width before anything is decoded.
        loading: Options of the loader.

    Returns:
        ``(H, W, 3)`` uint8, BGR; other shapes and types where ``loading`` says so.

    Raises:
        UserError: If the file is missing or damaged, or holds what training refuses as well:
            several frames, or values without a known range; or by ``check_size``.
    """
    path = Path(path)
    data = _read(path)
    try:
        examine(data, loading, decode=False, check_size=check_size)
        return loading.decode(data)
    except BadImageError as error:
        raise UserError(f'{path}: {error}; {_remedy(error.kind)}.') from error


def _read(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except IsADirectoryError:
        raise UserError(f'{path} is a folder, not an image; rename or remove it.') from None
    except FileNotFoundError:
        raise UserError(f'{path} no longer exists; restore it.') from None
    except OSError as error:
        raise UserError(
            f'{path} cannot be read ({error.strerror}); get permission to read it.'
        ) from error
    if not data:
        raise UserError(f'{path} is empty; restore it.')
    return data


def _remedy(kind: str) -> str:
    return {
        'low values': 'stretch its values to 0 to 65535',
        'unknown range': 'save it with 8 bits a channel',
        'several frames': 'save the frame you mean as PNG, or all as a video',
    }.get(kind, 'restore it')


def as_bgr(image: np.ndarray) -> np.ndarray:
    """Any loaded image as ``(H, W, 3)`` uint8, BGR, to be painted on."""
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    elif image.dtype != np.uint8:
        image = cv2.normalize(image, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    if image.ndim == 2 or image.shape[2] < 3:
        first = image if image.ndim == 2 else image[..., 0]
        return cv2.cvtColor(np.ascontiguousarray(first), cv2.COLOR_GRAY2BGR)
    return np.ascontiguousarray(image[..., :3])
