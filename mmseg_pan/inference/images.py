"""Image files of any kind as what the networks were trained on: 8-bit BGR, upright."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from mmseg_pan.errors import UserError

#: Pillow decodes more than these, some with programs of their own; nobody photographs in them.
FORMATS = ('BMP', 'GIF', 'JPEG', 'PNG', 'PPM', 'TIFF', 'WEBP')

_COLOUR = ('RGB', 'RGBX', 'CMYK', 'YCbCr', 'P', 'L', '1')
_TRANSPARENT = ('RGBA', 'RGBa', 'LA', 'La', 'PA')
_DEEP = ('I;16', 'I;16L', 'I;16B', 'I;16N')


def read_image(path: Path, check_size: Callable[[int, int], None] | None = None) -> np.ndarray:
    """Read an image as MMSegmentation's loader does, and say why where it cannot be read.

    Upright by its EXIF orientation. Grey becomes three equal channels, transparent parts
    white, CMYK and palettes colours, and of 16 bits a channel the upper eight are kept.

    Args:
        path: The file.
        check_size: Called with height and width before anything is decoded.

    Returns:
        ``(H, W, 3)`` uint8, BGR.

    Raises:
        UserError: If the file is missing, damaged or no still image, if its values have no
            known range, or by ``check_size``.
    """
    data = _read(path)
    with _size_checked_here():
        try:
            image = Image.open(io.BytesIO(data), formats=FORMATS)
        except Exception as error:  # a decoder may fail in any way on a damaged file
            raise _undecodable(path, error) from error
        _check_kind(path, image)
        if check_size is not None:
            width, height = image.size
            check_size(height, width)
        try:
            image.load()
            image = ImageOps.exif_transpose(image)
        except Exception as error:
            raise _undecodable(path, error) from error
    return np.ascontiguousarray(np.asarray(_eight_bit(path, image))[:, :, ::-1])


def _read(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except IsADirectoryError:
        raise UserError(f'{path} is a folder, not an image; rename or remove it.') from None
    except FileNotFoundError:
        raise UserError(f'{path} is not there any more; restore it.') from None
    except OSError as error:
        raise UserError(
            f'{path} cannot be read ({error.strerror}); give yourself the right to read it.'
        ) from error
    if not data:
        raise UserError(f'{path} is empty; restore it.')
    return data


def _undecodable(path: Path, error: Exception) -> UserError:
    if isinstance(error, Image.UnidentifiedImageError):
        return UserError(f'{path} is no image of a known format ({", ".join(FORMATS)}).')
    return UserError(f'{path} cannot be decoded ({error or type(error).__name__}); restore it.')


def _check_kind(path: Path, image: Image.Image) -> None:
    frames = getattr(image, 'n_frames', 1)
    # An MPO's further frames are previews or the view of the other eye.
    if frames > 1 and image.format != 'MPO':
        raise UserError(
            f'{path} is animated or has pages ({frames} frames); save the one you mean as PNG, '
            'or all as a video.'
        )
    if image.mode not in (*_COLOUR, *_TRANSPARENT, *_DEEP) and not _is_deep_png(image):
        raise UserError(
            f'{path} is stored in mode {image.mode}, whose range of values is not known; save it '
            'with 8 bits a channel.'
        )


def _is_deep_png(image: Image.Image) -> bool:
    return image.mode == 'I' and image.format == 'PNG'  # Pillow before 11 calls 16 bits so


def _eight_bit(path: Path, image: Image.Image) -> Image.Image:
    """The image in mode RGB."""
    if image.mode in _DEEP or _is_deep_png(image):
        values = np.asarray(image)
        if 0 < values.max() < 4096:
            raise UserError(
                f'{path} has 16 bits a pixel but no value above {values.max()}, and would be all '
                'but black with 8 bits; stretch its values to 0 to 65535.'
            )
        image = Image.fromarray((values >> 8).astype(np.uint8))
    if image.mode in _TRANSPARENT or 'transparency' in image.info:
        image = image.convert('RGBA')
        white = Image.new('RGBA', image.size, 'white')
        image = Image.alpha_composite(white, image)
    return image.convert('RGB')


@contextmanager
def _size_checked_here() -> Iterator[None]:
    """Lift Pillow's limit of pixels: ``check_size`` knows what memory there is."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit
