"""The files of a data set: those in a list, or those of a folder."""

import codecs
import io
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mmseg_pan.errors import UserError

#: Suffixes by which a folder's files are taken as images.
IMAGE_SUFFIXES = frozenset(
    '.bmp .gif .jfif .jp2 .jpeg .jpg .pgm .png .pnm .ppm .tif .tiff .webp'.split()
)


def is_image_name(name: str) -> bool:
    """Whether a file's suffix, in any case, is an image's."""
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def read_lines(path: Path) -> list[str]:
    """The lines of a list, without their ends: UTF-8 or UTF-16, with or without a mark.

    Raises:
        UserError: If the list does not exist or is not text.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UserError(
            f'The list {path} does not exist; restore it from the official archive.'
        ) from None
    encoding = 'utf-8-sig'
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = 'utf-16'
    elif b'\0' in data[:2]:
        encoding = 'utf-16-be' if data[0] == 0 else 'utf-16-le'
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = 1 + data[: error.start].count(b'\n')
        raise UserError(
            f'The list {path} is not text: line {line} cannot be read as {encoding[:6].upper()}; '
            'save it as UTF-8 or restore it.'
        ) from None
    return [line.rstrip('\n') for line in io.StringIO(text, newline=None)]


def read_ids(path: Path) -> list[str]:
    """The ids of a list, one a line; an error as :func:`read_lines` has it."""
    return [line.strip() for line in read_lines(path) if line.strip()]


def walk_files(folder: str | Path, enter: Callable[[Path], bool] | None = None) -> Iterator[Path]:
    """Every file below a folder that is not hidden, by name, through links to folders as well.

    Args:
        folder: Where to begin.
        enter: Asked for each folder below it; hidden ones are left out anyway.

    Yields:
        Paths below ``folder``, each beginning with it.

    Raises:
        UserError: If a folder cannot be listed.
    """
    yield from _walk_below(Path(folder), enter, ())


def _walk_below(folder: Path, enter: Callable | None, above: tuple[str, ...]) -> Iterator[Path]:
    real = os.path.realpath(folder)
    if real in above:  # a link to a folder that it lies in
        return
    try:
        with os.scandir(folder) as entries:
            found = sorted(
                (entry.name, entry.is_dir()) for entry in entries if not entry.name.startswith('.')
            )
    except OSError as error:
        raise UserError(
            f'The folder {folder} cannot be listed ({error.strerror}); get permission '
            'to read it, or name other folders.'
        ) from error
    for name, is_folder in found:
        path = folder / name
        if not is_folder:
            yield path
        elif enter is None or enter(path):
            yield from _walk_below(path, enter, (*above, real))


@dataclass(frozen=True)
class Layout:
    """Where images and masks lie, and how they end.

    Args:
        images: Folder of the images.
        masks: Folder of the masks; None for images without.
        image_suffix: End of an image's name.
        mask_suffix: End of a mask's name, in its place.
        root: Folder that a list's paths may start from instead.
    """

    images: str
    masks: str | None
    image_suffix: str
    mask_suffix: str
    root: str = ''

    def pair(self, name: str) -> tuple[str, str | None]:
        """Image and mask of a name without suffix."""
        mask = self.masks and os.path.join(self.masks, name + self.mask_suffix)
        return os.path.join(self.images, name + self.image_suffix), mask or None


@dataclass
class Found:
    """The pairs of a data set, and what was noticed.

    Args:
        pairs: Image and mask (or None) of each entry.
        left_out: Images of the folder that the suffix leaves out.
        unclear: Number of a line, and what is unclear about it.
        unusual: Kind of peculiarity, and numbers of the lines that have it.
    """

    pairs: list[tuple[str, str | None]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    unclear: dict[int, str] = field(default_factory=dict)
    unusual: dict[str, list[int]] = field(default_factory=dict)


def of_folder(layout: Layout) -> Found:
    """Every image of a folder that ends in ``image_suffix``, sorted by path."""
    found = Found()
    suffix, root = layout.image_suffix, Path(layout.images)
    masks_inside = layout.masks and _is_below(layout.masks, layout.images)
    for path in walk_files(root):
        name = str(path.relative_to(root))
        if name.endswith(suffix):
            found.pairs.append(layout.pair(name[: -len(suffix) or None]))
        elif is_image_name(name) and not (masks_inside and name.endswith(layout.mask_suffix)):
            found.left_out.append(str(path))
    found.pairs.sort()
    return found


def _is_below(folder: str, other: str) -> bool:
    return os.path.commonpath(map(os.path.realpath, (folder, other))) == os.path.realpath(other)


def of_list(path: str, layout: Layout) -> Found:
    """The pairs that a list names, as far as the meaning of each line is plain.

    A line is a name without suffix, with it, or an image and its mask in two columns; paths may
    start from the folders or from ``root``. Empty lines are left out.
    """
    found = Found()
    for number, line in enumerate(read_lines(Path(path)), 1):
        text = line.strip()
        if not text:
            found.unusual.setdefault('empty line in list', []).append(number)
            continue
        if text != line:
            found.unusual.setdefault('space in list', []).append(number)
        pair = _single(text, layout)
        if pair is None and (columns := _columns(text)):
            pair = _double(*columns, layout) if len(columns) == 2 else None
            if pair:
                found.unusual.setdefault('two columns in list', []).append(number)
            else:
                found.unclear[number] = text
                continue
        elif pair and pair[0] != layout.pair(text)[0]:
            found.unusual.setdefault('extension in list', []).append(number)
        # What does not exist is an error of the data set, which counts all of them.
        found.pairs.append(pair or layout.pair(text))
    return found


def _columns(text: str) -> list[str]:
    """The columns of a line; empty where it has only one."""
    parts = [part.strip().strip('"\'') for part in re.split(r'[\t,;]|\s+', text) if part.strip()]
    return parts if len(parts) > 1 else []


def _single(text: str, layout: Layout) -> tuple[str, str | None] | None:
    """The pair of one column, or None where no such image is there."""
    pair = layout.pair(text)
    if os.path.isfile(pair[0]):
        return pair
    for path in dict.fromkeys((text, text.replace('\\', '/').removeprefix('./'))):
        for name in dict.fromkeys((path, _without_suffix(path, layout))):
            image = _file(name, layout.images, layout)
            if not image:
                continue
            stem = _without_suffix(os.path.relpath(image, layout.images), layout)
            if not stem.startswith('..'):
                return image, layout.pair(stem)[1]
    return None


def _double(first: str, second: str, layout: Layout) -> tuple[str, str | None] | None:
    """The pair of two columns, or None where one of the files does not exist."""
    single = _single(first, layout)
    image = single[0] if single else _file(first, layout.images, layout)
    if not layout.masks:
        return (image, None) if image else None
    second = second.replace('\\', '/')
    for path in (second, second + layout.mask_suffix):
        for base in (layout.masks, layout.root):
            if image and os.path.isfile(os.path.join(base, path)):
                return image, os.path.join(base, path)
    return None


def _file(name: str, folder: str, layout: Layout) -> str | None:
    for path in (name, name + layout.image_suffix):
        for base in (folder, layout.root):
            if os.path.isfile(os.path.join(base, path)):
                return os.path.normpath(os.path.join(base, path))
    return None


def _without_suffix(name: str, layout: Layout) -> str:
    if layout.image_suffix and name.endswith(layout.image_suffix):
        return name[: -len(layout.image_suffix)]
    return os.path.splitext(name)[0] if is_image_name(name) else name
