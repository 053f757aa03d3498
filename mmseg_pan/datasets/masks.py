"""Masks as PNGs with VOC's colour map."""

import functools
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from mmseg_pan.errors import UserError


@functools.cache
def voc_palette() -> bytes:
    """VOC's colour map: 256 RGB triples; the bits of an id, spread over the three."""
    ids = np.arange(256)
    colours = np.zeros((256, 3), np.uint8)
    for level in range(8):
        for channel in range(3):
            bit = (ids >> (3 * level + channel)) & 1
            colours[:, channel] |= (bit << (7 - level)).astype(np.uint8)
    return colours.tobytes()


def class_colours(classes: int, palette: Sequence | None) -> np.ndarray:
    """A colour for each class, and for 256 at least.

    Args:
        classes: How many there are.
        palette: Their RGB colours; where it is None or too short, VOC's colour map fills up.

    Returns:
        ``(N, 3)`` uint8, RGB.
    """
    voc = np.frombuffer(voc_palette(), np.uint8).reshape(256, 3)
    colours = np.resize(voc, (max(classes, 256), 3))
    given = np.asarray(palette or [], np.uint8).reshape(-1, 3)
    colours[: len(given)] = given
    return colours


def encode_mask(mask: np.ndarray, palette: Sequence | None = None) -> bytes:
    """A palette PNG of ``(H, W)`` uint8 ids; the same ids give the same bytes.

    Args:
        mask: The ids.
        palette: RGB colours of the first ids; VOC's for those after them, or for all.
    """
    image = Image.fromarray(mask)
    image.putpalette(class_colours(256, palette).tobytes())
    buffer = io.BytesIO()
    # Level 3 takes a third of the time of 6 (the default) for 1 KB more a mask.
    image.save(buffer, 'PNG', compress_level=3)
    return buffer.getvalue()


def decode_mask(data: bytes, name: str) -> np.ndarray:
    """Ids of a mask, ``(H, W)`` uint8.

    Args:
        data: The bytes of a PNG.
        name: What to call it in the message.

    Raises:
        UserError: If it cannot be decoded, or holds colours instead of ids.
    """
    try:
        image = Image.open(io.BytesIO(data))
        image.load()
    except Exception as error:  # a decoder may fail in any way on a damaged file
        raise UserError(f'{name} cannot be decoded ({error}); restore it.') from error
    if image.mode not in ('P', 'L'):
        raise UserError(
            f'{name} is stored in mode {image.mode}, and a mask holds one id a pixel (mode P or '
            'L); convert its colours to ids.'
        )
    return np.asarray(image)


def is_encoded(path: Path, mask: np.ndarray, palette: Sequence | None = None) -> bool:
    """Whether a file is a palette PNG of just this mask already, see :func:`encode_mask`."""
    try:
        with Image.open(path) as image:
            found = image.palette.getdata()[1] if image.mode == 'P' else b''
            whole = class_colours(256, palette).tobytes()
            return found == whole and np.array_equal(np.asarray(image), mask)
    except Exception:  # absent or damaged: to be written
        return False


def count_ids(mask: np.ndarray) -> np.ndarray:
    """Count the pixels of each of the 256 ids in an ``(H, W)`` uint8 mask."""
    return np.asarray(Image.fromarray(mask).histogram())  # half the time of np.bincount


def illegal_ids(mask: np.ndarray, legal: frozenset[int]) -> list[int]:
    """The ids of an integer mask that are not legal, sorted."""
    found = np.flatnonzero(count_ids(mask)) if mask.dtype == np.uint8 else np.unique(mask)
    return [int(item) for item in found if int(item) not in legal]
