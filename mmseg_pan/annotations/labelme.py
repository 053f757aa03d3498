"""LabelMe: one JSON file for each image."""

import base64
import binascii
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmseg_pan.errors import UserError

from .rasterise import LABELME, points_of
from .recognition import AnnotationSource, json_format, read_json
from .records import (
    Collected,
    LeftOutError,
    Record,
    Shape,
    class_name,
    meaning,
)


@dataclass(frozen=True)
class Embedded:
    """An image in ``imageData`` of a LabelMe file."""

    path: Path

    def read_bytes(self) -> bytes:
        """Decode it.

        Raises:
            LeftOutError: If it is damaged.
        """
        data = read_json(self.path).get('imageData')
        try:
            return base64.b64decode(data, validate=False)
        except (binascii.Error, TypeError, ValueError):
            raise LeftOutError('its imageData is no base64 text') from None


def read_labelme(source: AnnotationSource) -> Collected:
    """Read every LabelMe file of a source.

    Raises:
        UserError: If a class has no usable name.
    """
    collected = Collected()
    for path in source.jsons:
        shown = source.shown(path)
        collected.add(
            shown,
            lambda path=path, shown=shown: _read_file_of_image(path, shown, source, collected),
        )
    collected.name_classes()
    used = {record.image for record in collected.records}
    without = [path for path in source.images if path not in used]
    if collected.records and without and source.path.is_dir():
        place = source.shown(without[0])
        collected.notes.append((place, f'{len(without)} images without a JSON file are not used'))
    return collected


def _read_file_of_image(
    path: Path, shown: str, source: AnnotationSource, collected: Collected
) -> Record | None:
    content = source.read(path)
    if json_format(content) != 'labelme':
        return None  # some other JSON in the same folder
    size = content.get('imageWidth'), content.get('imageHeight')
    size = size if all(isinstance(side, int) and side > 0 for side in size) else None
    shapes = content['shapes']
    if not isinstance(shapes, list):
        raise LeftOutError('its "shapes" are no list')
    drawn = []
    for index, shape in enumerate(shapes):
        place = f'{shown}, shape {index}'
        if not isinstance(shape, dict):
            raise LeftOutError(f'shape {index} is no object')
        read = _labelme_shape(shape, index, place, collected)
        if read:
            drawn.append(read)
    image, name = _image(content, path, source)
    return Record(name, image, shown, size, drawn, split=source.split_of(path))


def _image(content: dict, path: Path, source: AnnotationSource) -> tuple[Path | Embedded, str]:
    """The image next to the annotation, else the one that it holds, and its name."""
    named = content.get('imagePath')
    try:
        found = source.find_image(named, path)
    except LeftOutError:
        embedded = isinstance(content.get('imageData'), str) and content['imageData']
        if not embedded:
            try:  # renamed, with its annotation
                found = source.find_image(path.stem, path)
            except LeftOutError:
                found = None
            if found is None:
                raise
            return found, source.name_of(found)
        return Embedded(path), source.name_of(path)
    return found, source.name_of(found)


def _labelme_shape(shape: dict, index: int, place: str, collected: Collected) -> Shape | None:
    try:
        label = meaning(class_name(shape.get('label'), place))
    except UserError:
        raise LeftOutError(f'shape {index} has no label') from None
    kind = shape.get('shape_type') or 'polygon'
    points = points_of(shape.get('points'), f'shape {index}')
    if kind not in LABELME:
        collected.notes.append((place, f'a {str(kind)[:40]!r} has no area and is not drawn'))
        return None
    least, most = LABELME[kind]
    if not least <= len(points) <= (most or len(points)):
        collected.notes.append((place, f'a {kind} of {len(points)} points is not drawn'))
        return None
    data: Any = points
    if kind == 'mask':
        if not isinstance(shape.get('mask'), str):
            raise LeftOutError(f'shape {index} is a mask without its picture')
        data = (points, shape['mask'])
    return Shape(label, f'labelme {kind}', data)
