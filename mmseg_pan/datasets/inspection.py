"""What can be wrong with an image and its mask, found by looking at the files."""

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from mmseg.datasets import BaseSegDataset
from PIL import Image

from .masks import count_ids, illegal_ids

_ORIENTATION = 0x0112  # EXIF tag; 1 is upright, 5 to 8 swap width and height

#: Each kind of fault: whether training breaks, is biased, or neither.
SEVERITY = {
    'missing': 'breaks',
    'zero bytes': 'breaks',
    'unreadable': 'breaks',
    'truncated': 'breaks',
    'different sizes': 'breaks',
    'colour mask': 'breaks',
    'illegal ids': 'breaks',
    'grey 0/255 mask': 'biases',
    'only ignored': 'biases',
    'EXIF rotation': 'biases',
    'in train and val': 'biases',
    'duplicate id': 'biases',
    'extension in list': 'breaks',
    'empty line in list': 'breaks',
    'space in list': 'harmless',
}


@dataclass(frozen=True)
class Fault:
    """Something that is wrong with one file.

    Args:
        kind: A key of :data:`SEVERITY`.
        path: The file; a list for faults of a list.
        detail: What was found.
    """

    kind: str
    path: str
    detail: str

    @property
    def severity(self) -> str:
        """Whether training breaks, is biased, or neither."""
        return SEVERITY[self.kind]


@dataclass(frozen=True)
class MaskRules:
    """Which ids the masks of a data set may hold.

    Args:
        legal: Ids of the classes, as stored in the files, and the ignored ones.
        ignored: Ids, as stored, that the loss leaves out.
    """

    legal: frozenset[int]
    ignored: frozenset[int]


def mask_rules(dataset: BaseSegDataset) -> tuple[MaskRules, list[int]]:
    """Legal and ignored ids as stored in the files, and the id that each becomes.

    Args:
        dataset: A data set with classes; it need not have read its list yet.

    Returns:
        The rules, and 256 ids: what the loader makes of each.
    """
    ignore = dataset.ignore_index
    new_ids = list(range(256))
    if dataset.reduce_zero_label:
        new_ids = [ignore, *range(254), ignore]
    if dataset.label_map:
        stored = sorted(dataset.label_map)
        new_ids = [dataset.label_map.get(item, item) for item in new_ids]
    else:
        stored = [item for item in range(256) if new_ids[item] < len(dataset.metainfo['classes'])]
    ignored = frozenset((ignore, *(item for item in range(256) if new_ids[item] == ignore)))
    return MaskRules(ignored.union(stored), ignored), new_ids


@dataclass
class Inspection:
    """What one image and its mask gave.

    Args:
        faults: What is wrong.
        pixels: Count of each id in the mask; None where it cannot be counted.
    """

    faults: list[Fault] = field(default_factory=list)
    pixels: np.ndarray | None = None


def inspect_pair(
    image_path: str, mask_path: str | None, rules: MaskRules, decode_image: bool = True
) -> Inspection:
    """Look at an image and its mask.

    Args:
        image_path: The image.
        mask_path: Its mask; None for images without.
        rules: The legal ids.
        decode_image: Without it only the image's header and end are read, which is
            thirty times as fast and does not find damage in between.
    """
    result = Inspection()
    size = _inspect_image(image_path, decode_image, result)
    if mask_path is not None:
        mask_size = _inspect_mask(mask_path, rules, result)
        if size and mask_size and size != mask_size:
            detail = f'{mask_size[0]}x{mask_size[1]}, and the image loads as {size[0]}x{size[1]}'
            result.faults.append(Fault('different sizes', mask_path, detail))
    return result


def _inspect_image(path: str, decode: bool, result: Inspection) -> tuple[int, int] | None:
    """The size as OpenCV loads it, which turns images by their EXIF orientation."""
    data = _read_bytes(path, result)
    if data is None:
        return None
    image = _open(path, data, decode, result)
    if image is None:
        return None
    orientation = image.getexif().get(_ORIENTATION, 1)
    if orientation not in (0, 1):
        detail = f'orientation {orientation}: OpenCV turns the image, nothing turns the mask'
        result.faults.append(Fault('EXIF rotation', path, detail))
    return image.size[::-1] if orientation in (5, 6, 7, 8) else image.size


def _inspect_mask(path: str, rules: MaskRules, result: Inspection) -> tuple[int, int] | None:
    data = _read_bytes(path, result)
    image = data and _open(path, data, True, result)
    if not image:
        return None
    mask = np.asarray(image)
    if mask.ndim != 2 or mask.dtype.kind not in 'bui':
        detail = f'mode {image.mode} instead of one id a pixel (mode P or L)'
        result.faults.append(Fault('colour mask', path, detail))
        return image.size
    if mask.dtype != np.uint8 and mask.size and 0 <= mask.min() and mask.max() < 256:
        mask = mask.astype(np.uint8)
    if mask.dtype != np.uint8:
        detail = f'ids {shortened(illegal_ids(mask, rules.legal))}'
        result.faults.append(Fault('illegal ids', path, detail))
        return image.size
    result.pixels = count_ids(mask)
    present = {int(item) for item in np.flatnonzero(result.pixels)}
    if wrong := sorted(present - rules.legal):
        result.faults.append(Fault('illegal ids', path, f'ids {shortened(wrong)}'))
    if present <= rules.ignored:
        detail = f'every pixel is {" or ".join(map(str, sorted(present)))}, which the loss ignores'
        result.faults.append(Fault('only ignored', path, detail))
    elif present == {0, 255} and _is_grey(image):
        detail = 'black and white: 255 is ignored by the loss, and objects need their class id'
        result.faults.append(Fault('grey 0/255 mask', path, detail))
    return image.size


def _read_bytes(path: str, result: Inspection) -> bytes | None:
    try:
        data = Path(path).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        result.faults.append(Fault('missing', path, 'no such file'))
        return None
    except OSError as error:
        result.faults.append(Fault('unreadable', path, error.strerror or str(error)))
        return None
    if not data:
        result.faults.append(Fault('zero bytes', path, 'the file is empty'))
        return None
    return data


def _open(path: str, data: bytes, decode: bool, result: Inspection) -> Image.Image | None:
    try:
        image = Image.open(io.BytesIO(data))
        if not _has_end_mark(image.format, data):
            detail = f'the {image.format} has no end mark after {len(data):,} bytes'
            result.faults.append(Fault('truncated', path, detail))
            return None
        if decode:
            image.load()
    except Exception as error:  # a decoder may fail in any way on a damaged file
        kind = 'truncated' if 'truncated' in str(error) else 'unreadable'
        # Pillow names the buffer that it read from, which helps nobody.
        detail = str(error).split(' <_io')[0]
        result.faults.append(Fault(kind, path, detail))
        return None
    return image


def _has_end_mark(image_format: str | None, data: bytes) -> bool:
    """Decoders fill a JPEG that was cut with grey, without a word."""
    if image_format in ('JPEG', 'MPO'):
        # An EXIF thumbnail has an end mark of its own, before the scan of the image.
        return data.rfind(b'\xff\xd9') > data.rfind(b'\xff\xda')
    if image_format == 'PNG':
        return b'IEND\xaeB`\x82' in data[-64:]
    return True


def _is_grey(image: Image.Image) -> bool:
    if image.mode != 'P':
        return True
    palette = image.getpalette() or []
    return all(palette[3 * item : 3 * item + 3] == [item] * 3 for item in (0, 255))


def shortened(ids: list[int]) -> str:
    """The first ids of a list that may be long."""
    shown = ', '.join(map(str, ids[:10]))
    return shown + (f' and {len(ids) - 10} more' if len(ids) > 10 else '')


def breaking(faults: list[Fault]) -> Iterator[Fault]:
    """The faults that a training must not go on with."""
    return (fault for fault in faults if fault.severity == 'breaks')
