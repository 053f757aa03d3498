"""Faults of an image and its mask, found by inspecting the files."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from mmseg.datasets import BaseSegDataset
from PIL import Image

from .masks import count_ids, illegal_ids
from .reading import BadImageError, Loading, examine, open_mask

#: Each kind of fault: whether training breaks, is biased, or neither.
SEVERITY = {
    'missing': 'breaks',
    'zero bytes': 'breaks',
    'unreadable': 'breaks',
    'truncated': 'breaks',
    'different sizes': 'breaks',
    'low values': 'breaks',
    'unknown range': 'breaks',
    'several frames': 'breaks',
    'colour mask': 'breaks',
    'illegal ids': 'breaks',
    'grey 0/255 mask': 'biases',
    'only ignored': 'biases',
    'EXIF rotation': 'biases',
    'transparency': 'biases',
    'left out': 'biases',
    'in train and val': 'biases',
    'duplicate id': 'biases',
    'unclear line in list': 'breaks',
    'mask without image': 'harmless',  # of another split, or of an image that was lost
    'extension in list': 'harmless',
    'two columns in list': 'harmless',
    'empty line in list': 'harmless',
    'space in list': 'harmless',
}


@dataclass(frozen=True)
class Fault:
    """A fault of one file.

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

    def __str__(self) -> str:
        """The legal ids for a message, such as ``0-20 and 255 (ignored)``."""
        return f'{_ranges(self.legal - self.ignored)} and {_ranges(self.ignored)} (ignored)'


def _ranges(ids: frozenset[int]) -> str:
    """Ids such as ``0-20, 255``."""
    ranges = []
    for item in sorted(ids):
        if ranges and item == ranges[-1][1] + 1:
            ranges[-1][1] = item
        else:
            ranges.append([item, item])
    return ', '.join(f'{low}-{high}' if high > low else f'{low}' for low, high in ranges)


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
    # A map of classes applies to the reduced ids.
    known = dataset.label_map or range(len(dataset.metainfo['classes']))
    stored = [item for item in range(256) if new_ids[item] in known]
    if dataset.label_map:
        new_ids = [dataset.label_map.get(item, item) for item in new_ids]
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
    image_path: str,
    mask_path: str | None,
    rules: MaskRules,
    loading: Loading | None,
    decode_image: bool = True,
) -> Inspection:
    """Look at an image and its mask.

    Args:
        image_path: The image.
        mask_path: Its mask; None for images without.
        rules: The legal ids.
        loading: How the image is loaded; None: by a loader that is not known here.
        decode_image: See :func:`~mmseg_pan.datasets.reading.examine`.
    """
    result = Inspection()
    size = _inspect_image(image_path, loading, decode_image, result)
    if mask_path is not None:
        mask_size = _inspect_mask(mask_path, rules, result)
        if size and mask_size and size != mask_size:
            detail = f'{mask_size[0]}x{mask_size[1]}, and the image loads as {size[0]}x{size[1]}'
            result.faults.append(Fault('different sizes', mask_path, detail))
    return result


def _inspect_image(
    path: str, loading: Loading | None, decode: bool, result: Inspection
) -> tuple[int, int] | None:
    """Width and height as loaded."""
    data = _read_bytes(path, result)
    if data is None or loading is None:
        return None
    try:
        examined = examine(data, loading, decode)
    except BadImageError as error:
        result.faults.append(Fault(error.kind, path, error.detail))
        return None
    result.faults += [Fault(kind, path, detail) for kind, detail in examined.notes]
    return examined.size[::-1]


def _inspect_mask(path: str, rules: MaskRules, result: Inspection) -> tuple[int, int] | None:
    data = _read_bytes(path, result)
    if data is None:
        return None
    try:
        image = open_mask(data)
    except BadImageError as error:
        result.faults.append(Fault(error.kind, path, error.detail))
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


def _is_grey(image: Image.Image) -> bool:
    if image.mode != 'P':
        return True
    palette = image.getpalette() or []
    return all(palette[3 * item : 3 * item + 3] == [item] * 3 for item in (0, 255))


def left_out_fault(folder: str, suffix: str, paths: list[str]) -> Fault:
    """The images of a folder that a data set's suffix leaves out, as one fault."""
    names = ', '.join(os.path.relpath(path, folder) for path in paths[:5])
    more = f' and {len(paths) - 5} more' if len(paths) > 5 else ''
    return Fault('left out', folder, f'{names}{more}: img_suffix is {suffix!r}')


def repeated(pairs: list[tuple[str, str | None]], source: str) -> list[Fault]:
    """A fault for each image that a list names more than once."""
    return [
        Fault('duplicate id', source, f'{image} stands there {count} times')
        for (image, _), count in Counter(pairs).items()
        if count > 1
    ]


def shortened(ids: list[int]) -> str:
    """The first ids of a list that may be long."""
    shown = ', '.join(map(str, ids[:10]))
    return shown + (f' and {len(ids) - 10} more' if len(ids) > 10 else '')


def breaking(faults: list[Fault]) -> Iterator[Fault]:
    """The faults that must stop training."""
    return (fault for fault in faults if fault.severity == 'breaks')
