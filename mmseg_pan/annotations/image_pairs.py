"""One annotated image: its pixels as training will load them, and the mask that fits them."""

import hashlib
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from PIL import Image

from mmseg_pan.datasets.masks import count_ids, encode_mask, is_encoded
from mmseg_pan.datasets.reading import BadImageError, Examined, Loading, examine
from mmseg_pan.files import write_whole
from mmseg_pan.outputs import fitting_name

from .classes import ClassTable
from .rasterise import rasterise
from .records import LeftOutError, Record, check_pixels

_ORIENTATION = 0x0112  # EXIF tag
#: How Pillow turns an image of each orientation upright, as ``ImageOps.exif_transpose`` does.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
#: What some file systems refuse, and bytes of names that are no UTF-8.
_AWKWARD = re.compile(r'[\x00-\x1f\x7f\ud800-\udfff<>:"|?*\\]')
_SUFFIXES = {'.jpeg': '.jpg', '.jfif': '.jpg', '.tiff': '.tif'}


@dataclass(frozen=True)
class Task:
    """A record, and where its image and mask go.

    Args:
        record: The record.
        split: 'train', 'val' or 'test'.
        stem: Path below the folders of images and masks, without suffix.
    """

    record: Record
    split: str
    stem: str


@dataclass
class Outcome:
    """What became of a task.

    Args:
        task: The task.
        reason: Why the image was left out; empty if it was not.
        files: The two files, relative to the output folder.
        written: Whether one of them was missing or different.
        size: Width and height.
        pixels: Number of pixels of each id, ``(256,)``.
    """

    task: Task
    reason: str = ''
    files: tuple[str, ...] = ()
    written: bool = False
    size: tuple[int, int] = (0, 0)
    pixels: np.ndarray = field(default_factory=lambda: np.zeros(256, int))


def convert_pair(out: Path, table: ClassTable, task: Task) -> Outcome:
    """Write image and mask, unless the same ones exist.

    Images are copied. Those that EXIF turns, and those with transparent parts, are written as
    they are loaded: upright, so that image and mask agree in every program, and without alpha.
    """
    record = task.record
    try:
        data = _image_bytes(record)
        examined = _examine(data)
        mask = _mask(record, table, data, examined)
        pixels = count_ids(mask)
        if not pixels[:255].any():
            raise LeftOutError('nothing in it is labelled')
        image, suffix = _image_file(record, data, examined)
    except LeftOutError as error:
        return Outcome(task, str(error))
    except MemoryError:
        return Outcome(task, 'it needs more memory than there is')
    files = f'images/{task.split}/{task.stem}{suffix}', f'masks/{task.split}/{task.stem}.png'
    written = _write_image(out / files[0], image)
    written |= _write_mask(out / files[1], mask, table.palette)
    height, width = mask.shape
    return Outcome(task, '', files, written, (width, height), pixels)


def _image_bytes(record: Record) -> bytes:
    try:
        return record.image.read_bytes()
    except OSError as error:
        raise LeftOutError(f'its image cannot be read ({error.strerror})') from None


def _examine(data: bytes) -> Examined:
    try:
        return examine(data, Loading(), True, lambda height, width: check_pixels(width, height))
    except BadImageError as error:
        raise LeftOutError(f'its image is refused: {error}') from None


def _mask(record: Record, table: ClassTable, data: bytes, examined: Examined) -> np.ndarray:
    """The mask in the orientation in which the image is loaded."""
    height, width = examined.size
    stored, orientation = _stored(data)
    mask = record.mask.read(table.ids) if record.mask else None
    stated = mask.shape[::-1] if mask is not None else record.size or (width, height)
    turned = stated != (width, height) and stated == stored and orientation in _TURNS
    if stated != (width, height) and not turned:
        raise LeftOutError(
            f'its annotation is for {stated[0]}x{stated[1]} pixels, and the image has '
            f'{width}x{height}'
        )
    if mask is None:
        mask = rasterise(record, table.ids, table.unlabelled, stated[::-1])
    if turned:
        mask = np.asarray(Image.fromarray(mask).transpose(_TURNS[orientation]))
    return np.ascontiguousarray(mask)


def _stored(data: bytes) -> tuple[tuple[int, int], int]:
    """Width and height as stored, and the EXIF orientation."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            return image.size, image.getexif().get(_ORIENTATION, 1)
    except Exception:  # OpenCV has decoded it, Pillow need not
        return (0, 0), 1


def _image_file(record: Record, data: bytes, examined: Examined) -> tuple[bytes, str]:
    """The bytes of the image to write, and its suffix."""
    suffix = Path(record.name).suffix.lower()
    if not isinstance(record.image, Path):
        suffix = _suffix_of(data)
    if not examined.notes:
        return data, _SUFFIXES.get(suffix, suffix)
    pixels = Loading().decode(data)
    if suffix in ('.jpg', '.jpeg', '.jfif'):
        # Without losing colour resolution; a PNG of a photograph is five times as large.
        quality = [cv2.IMWRITE_JPEG_QUALITY, 95]
        quality += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
        return cv2.imencode('.jpg', pixels, quality)[1].tobytes(), '.jpg'
    return cv2.imencode('.png', pixels)[1].tobytes(), '.png'


def _suffix_of(data: bytes) -> str:
    with Image.open(io.BytesIO(data)) as image:
        kind = (image.format or 'PNG').lower()
    return '.jpg' if kind in ('jpeg', 'mpo') else f'.{kind}'


def _write_image(path: Path, data: bytes) -> bool:
    if path.is_file() and path.read_bytes() == data:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, data, durable=False)
    return True


def _write_mask(path: Path, mask: np.ndarray, palette: Sequence) -> bool:
    if is_encoded(path, mask, palette):
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, encode_mask(mask, palette), durable=False)
    return True


def make_tasks(records: list[Record], splits: list[str]) -> list[Task]:
    """Give each image a name of its own in its split, the same in any order of the records."""
    stems = {}
    for record in records:
        path = PurePosixPath(record.name)
        stems[id(record)] = [
            _clean(str(path.with_suffix(''))),
            _clean(f'{path.with_suffix("")}-{path.suffix[1:].lower()}'),
            _clean(f'{path.with_suffix("")}-{short_hash(record.origin)}'),
        ]
    tasks = []
    for level in range(3):
        waiting = [pair for pair in zip(records, splits, strict=True) if id(pair[0]) in stems]
        counts = Counter((split, stems[id(r)][level].casefold()) for r, split in waiting)
        taken = {(task.split, task.stem.casefold()) for task in tasks}
        for record, split in waiting:
            key = split, stems[id(record)][level].casefold()
            if counts[key] == 1 and key not in taken:
                tasks.append(Task(record, split, stems.pop(id(record))[level]))
    return sorted(tasks, key=lambda task: (task.split, task.stem))


def _clean(stem: str) -> str:
    """A path below a folder, without what file systems or lists of names cannot take."""
    parts = [_AWKWARD.sub('_', part).strip() for part in stem.split('/')]
    parts = [part.lstrip('.') for part in parts]
    return '/'.join(fitting_name(part, '.png')[:-4] for part in parts if part) or 'image'


def short_hash(text: str) -> str:
    """Eight hex digits of a text's SHA-256."""
    return hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:8]
