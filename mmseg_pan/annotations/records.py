"""What every reader of annotations gives: images, their shapes or masks, and the classes."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from mmseg_pan.errors import UserError

#: Labels of areas that the loss leaves out, that are labelled as background, and that nobody
#: labelled.
IGNORED = '__ignore__'
BACKGROUND = 'background'
UNLABELLED = '__unlabelled__'

#: Names that tools give to them.
_MEANING = {
    '__ignore__': IGNORED,
    'ignore': IGNORED,
    '_background_': BACKGROUND,
    '__background__': BACKGROUND,
    'background': BACKGROUND,
    'unlabeled': UNLABELLED,
    'unlabelled': UNLABELLED,
}

#: More points, or pixels, than any annotation by hand has.
MOST_POINTS = 100_000
MOST_PIXELS = 2**28


class LeftOutError(ValueError):
    """An image that cannot be used; the message is the reason."""


def meaning(name: str) -> str:
    """The label of an area: one of the three for a name that means it, else the name itself."""
    return _MEANING.get(name.lower(), name)


def check_pixels(width: int, height: int) -> None:
    """Refuse a size that would fill the memory.

    Raises:
        LeftOutError: If it has more than :data:`MOST_PIXELS`.
    """
    if width * height > MOST_PIXELS:
        raise LeftOutError(
            f'it has {width}x{height} pixels, more than the {MOST_PIXELS:,} that are read'
        )


@dataclass(frozen=True)
class Shape:
    """A labelled area.

    Args:
        label: Name of a class, or :data:`IGNORED`.
        kind: A key of :data:`mmseg_pan.annotations.rasterise.DRAWN`.
        data: What that function takes.
    """

    label: str
    kind: str
    data: Any


class ImageBytes(Protocol):
    """An image file, or an image that is stored in an annotation."""

    def read_bytes(self) -> bytes:
        """The whole file."""


class StoredMask(Protocol):
    """A mask that the tool has drawn already; it is sent to the worker processes."""

    def read(self, ids: dict[str, int]) -> np.ndarray:
        """Class ids, ``(H, W)`` uint8."""


@dataclass
class Record:
    """An annotated image.

    Args:
        name: Path of the image below the folder of the images, with '/' and a suffix.
        image: Where its bytes are.
        origin: The annotation, for messages.
        size: Width and height that the annotation states; None: those of the image.
        shapes: In drawing order.
        mask: Instead of shapes.
        split: 'train', 'val' or 'test' where the source divides the images.
    """

    name: str
    image: ImageBytes
    origin: str
    size: tuple[int, int] | None = None
    shapes: list[Shape] = field(default_factory=list)
    mask: StoredMask | None = None
    split: str | None = None


@dataclass
class NamedClass:
    """A class as the source names it; the colour is RGB, None where it has none."""

    name: str
    colour: tuple[int, int, int] | None = None


@dataclass
class Collected:
    """What a source holds.

    Args:
        records: The images.
        classes: In their order, without ignored and unlabelled areas.
        background: Name and colour of unlabelled areas; None where every pixel is labelled.
        left_out: Name of an image or annotation, and the reason.
        notes: Parts of annotations that were left out, or read in another way: place, and what.
    """

    records: list[Record] = field(default_factory=list)
    classes: list[NamedClass] = field(default_factory=list)
    background: NamedClass | None = field(default_factory=lambda: NamedClass('background'))
    left_out: list[tuple[str, str]] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)

    @property
    def labels(self) -> set[str]:
        """The labels of all shapes."""
        return {shape.label for record in self.records for shape in record.shapes}

    def name_classes(self) -> None:
        """Take the classes from the shapes, by their names, where the source has no list."""
        names = sorted(self.labels - {IGNORED, BACKGROUND, UNLABELLED})
        self.classes = [NamedClass(name) for name in names]

    def add(self, name: str, make: Callable[[], Record | None]) -> None:
        """Add a record, or the reason why there is none."""
        try:
            record = make()
        except LeftOutError as error:
            self.left_out.append((name, str(error)))
            return
        if record is not None:
            self.records.append(record)


def parse_colour(value: Any) -> tuple[int, int, int] | None:
    """An RGB colour of three numbers, or of text such as '#ff8000'; None for anything else."""
    if isinstance(value, str) and len(value) == 7 and value.startswith('#'):
        try:
            value = list(bytes.fromhex(value[1:]))
        except ValueError:
            return None
    if not isinstance(value, (list, tuple)) or len(value) != 3:
        return None
    if not all(isinstance(part, int) and 0 <= part <= 255 for part in value):
        return None
    return tuple(value)


def class_name(value: Any, place: str) -> str:
    """The name of a class as text without spaces around it.

    Raises:
        UserError: If it is empty or has line breaks.
    """
    name = str(value).strip() if isinstance(value, (str, int)) else ''
    if not name or len(name) > 200 or not name.isprintable():
        raise UserError(
            f'{place} has a class named {str(value)[:40]!r}, and a name is a line of text; give it '
            'a name in the labelling tool and export again.'
        )
    return name
