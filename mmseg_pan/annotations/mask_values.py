"""Values and colours of masks, and tables that name their classes."""

import csv
import io
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from mmseg_pan.datasets.lists import read_lines
from mmseg_pan.datasets.reading import BadImageError, open_mask
from mmseg_pan.errors import UserError

from .records import IGNORED, LeftOutError, NamedClass, check_pixels, class_name, parse_colour

#: Names of tables, those of a known meaning first.
TABLES = (
    '_classes.csv',
    'labelmap.txt',
    'label_colors.txt',
    'class_dict.csv',
    'labels.txt',
    'classes.txt',
    'class_names.txt',
    'classes.csv',
    'labels.csv',
    'colormap.txt',
    'colormap.csv',
    'palette.txt',
    'palette.csv',
)
_HEADER = re.compile(r'^(pixel value|name|class|label|id|value|r|red|color|colour)\b', re.I)


@dataclass
class Entry(NamedClass):
    """A line of a table; value is the id in the masks, None where the line states none."""

    value: int | None = None


def read_table(path: Path, known: Collection[str] = ()) -> list[Entry]:
    """Read the lines of a table.

    Known are lines of a name alone; ``name:r,g,b::`` (CVAT), ``r g b name`` (CamVid),
    ``name,r,g,b``, ``name,#rrggbb``; ``value,name`` (Roboflow), ``value name`` and
    ``value: name``.

    Args:
        path: The table.
        known: Names whose lines are not taken apart, such as '2 euros'.

    Raises:
        UserError: If a line is none of these, or two lines have one name, value or colour.
    """
    entries = []
    for number, line in enumerate(read_lines(path), 1):
        text = line.strip()
        if not text or text.startswith('#') or (number == 1 and _is_header(text)):
            continue
        place = f'{path}, line {number},'
        entries.append(Entry(text) if text in known else _table_entry(text, place))
    if not entries:
        raise UserError(f'{path} names no class; write one a line.')
    for kind in ('name', 'value', 'colour'):
        seen = set()
        for entry in entries:
            found = getattr(entry, kind)
            if found is not None and found in seen:
                raise UserError(f'{path} has the {kind} {found!r} twice; give each class its own.')
            seen.add(found)
    return entries


def _is_header(text: str) -> bool:
    return bool(',' in text and _HEADER.match(text) and not re.search(r'\d', text))


def _table_entry(text: str, place: str) -> Entry:
    if ':' in text and (found := re.fullmatch(r'(.+?):\s*(\d+),\s*(\d+),\s*(\d+)(:.*)?', text)):
        return Entry(class_name(found[1], place), _table_colour(found.groups()[1:4], place))
    columns = [part.strip() for part in next(csv.reader([text], skipinitialspace=True))]
    if len(columns) == 1:
        if found := re.fullmatch(r'(\d+)\s+(\d+)\s+(\d+)\s+(\D.*)', text):
            return Entry(class_name(found[4], place), _table_colour(found.groups()[:3], place))
        if found := re.fullmatch(r'(\D.*?)\s+(\d+)\s+(\d+)\s+(\d+)', text):
            return Entry(class_name(found[1], place), _table_colour(found.groups()[1:4], place))
        if found := re.fullmatch(r'(.+?)[\s:]+(#[0-9a-fA-F]{6})', text):
            return Entry(class_name(found[1], place), parse_colour(found[2]))
        if found := re.fullmatch(r'(\d+)(?:\s*:\s*|\s+)(.+)', text):
            return Entry(class_name(found[2], place), None, int(found[1]))
        return Entry(class_name(text, place))
    numbers = [int(part) for part in columns if part.isdecimal()]
    names = [part for part in columns if part and not part.isdecimal() and part[0] != '#']
    hexes = [parse_colour(part) for part in columns if part.startswith('#')]
    if len(names) != 1 or len(numbers) not in (0, 1, 3, 4) or len(hexes) > 1:
        raise UserError(
            f'{place} {text[:40]!r} is not understood; write "name", "value,name" or "name,r,g,b".'
        )
    name, colour = class_name(names[0], place), hexes[0] if hexes else None
    value = numbers[0] if len(numbers) in (1, 4) else None
    if len(numbers) >= 3:
        colour = _table_colour(numbers[-3:], place)
    return Entry(name, colour, value)


def _table_colour(parts, place: str) -> tuple[int, int, int]:
    colour = parse_colour([int(part) for part in parts])
    if colour is None:
        raise UserError(f'{place} has a colour outside of 0 to 255; correct it.')
    return colour


@dataclass(frozen=True)
class MaskFile:
    """A mask with values or colours.

    Args:
        path: The file.
        values: Label by value.
        colours: Label by RGB colour, packed in 24 bits; empty where values count.
    """

    path: Path
    values: tuple[tuple[int, str], ...]
    colours: tuple[tuple[int, str], ...] = ()

    def read(self, ids: dict[str, int]) -> np.ndarray:
        """Class ids, ``(H, W)`` uint8.

        Raises:
            LeftOutError: If it is unreadable, or has a value that no class has.
        """
        found, coloured = open_values(self.path, self.colours)
        known = self.colours if coloured else self.values
        present = np.unique(found)
        labels = dict(known)
        if not coloured:
            labels.setdefault(255, IGNORED)
        for value in present.tolist():
            if value not in labels:
                row, column = np.argwhere(found == value)[0].tolist()
                what = f'the colour #{value:06x}' if coloured else f'the value {value}'
                raise LeftOutError(
                    f'its mask {self.path.name} has {what} (row {row}, column {column}), which no '
                    'class has'
                )
        table = np.array([ids[labels[value]] for value in present.tolist()], np.uint8)
        return table[np.searchsorted(present, found)]


def open_values(path: Path, colours: tuple = ()) -> tuple[np.ndarray, bool]:
    """The values of a mask, or its colours packed in 24 bits, and which of the two.

    Args:
        path: The file.
        colours: Pairs with the packed colours that are known; without any, values are wanted.

    Raises:
        LeftOutError: If it cannot be read, or holds colours where none are known.
    """
    try:
        data = path.read_bytes()
        with Image.open(io.BytesIO(data)) as header:
            lossy = header.format in ('JPEG', 'MPO')
            check_pixels(*header.size)
        image = open_mask(data)
    except LeftOutError:
        raise
    except (OSError, BadImageError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = error.detail if isinstance(error, BadImageError) else 'it is no readable image'
        raise LeftOutError(f'its mask {path.name} cannot be read ({reason})') from None
    if lossy:
        raise LeftOutError(f'its mask {path.name} is a JPEG, which changes values; save it as PNG')
    if colours and image.mode in ('P', 'RGB', 'RGBA'):
        packed = _packed(np.asarray(image.convert('RGB')))
        known = {value for value, _ in colours}
        if image.mode != 'P' or set(np.unique(packed).tolist()) <= known:
            return packed, True
    if image.mode in ('RGB', 'RGBA', 'LA'):
        array = np.asarray(image)
        if image.mode != 'LA' and (array[..., :1] != array[..., 1:3]).any():
            raise LeftOutError(f'its mask {path.name} holds colours, and no table names them')
        return array[..., 0], False
    if image.mode not in ('1', 'L', 'P', 'I', 'I;16', 'I;16B'):
        raise LeftOutError(f'its mask {path.name} is stored in mode {image.mode}')
    return np.asarray(image).astype(np.int64 if image.mode.startswith('I') else np.uint8), False


def _packed(array: np.ndarray) -> np.ndarray:
    parts = array.astype(np.int32)
    return parts[..., 0] << 16 | parts[..., 1] << 8 | parts[..., 2]
