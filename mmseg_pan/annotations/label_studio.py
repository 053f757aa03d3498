"""Label Studio's JSON: polygons, brush masks, rectangles and ellipses."""

import math
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from mmseg_pan.datasets.lists import is_image_name
from mmseg_pan.errors import UserError

from .rasterise import points_of
from .recognition import AnnotationSource
from .records import (
    Collected,
    LeftOutError,
    Record,
    Shape,
    class_name,
    meaning,
)

#: Where a region names its classes; 'labels' belongs to tags such as <Polygon>.
_LABELS = ('polygonlabels', 'brushlabels', 'rectanglelabels', 'ellipselabels', 'labels')


def read_label_studio(source: AnnotationSource) -> Collected:
    """Read the tasks of every Label Studio file of a source; formats JSON and JSON-MIN.

    Raises:
        UserError: If a file is damaged.
    """
    collected = Collected()
    for path, content in source.contents('label-studio'):
        for index, task in enumerate(content):
            place = f'{source.shown(path)}, task {index}'
            if not isinstance(task, dict):
                collected.left_out.append((place, 'it is no object'))
                continue
            collected.add(
                f'{place} ({PurePosixPath(_image_name(task) or "?").name[:80]})',
                lambda task=task, path=path, place=place: _read_task(
                    task, path, place, source, collected
                ),
            )
    collected.name_classes()
    return collected


def _read_task(
    task: dict, path, place: str, source: AnnotationSource, collected: Collected
) -> Record:
    file = _find(task, path, source)
    shapes, sizes = [], set()
    regions = _regions(task, place, collected)
    labelled = {region.get('id') for region in regions if _region_names(region)}
    for index, region in enumerate(regions):
        names = _region_names(region)
        if not names and region.get('id') in labelled:
            continue  # <Polygon> and <Labels> are stored one after the other, with one id
        shape = _region_shape(
            region, names, f'region {index}', f'{place}, region {index}', collected
        )
        if shape:
            shapes.append(shape)
            sizes.add((region['original_width'], region['original_height']))
    if len(sizes) > 1:
        raise LeftOutError('its regions state different sizes of the image')
    size = sizes.pop() if sizes else None
    return Record(source.name_of(file), file, place, size, shapes, split=source.split_of(file))


def _image_name(task: dict) -> str | None:
    """The address of a task's image: the first text in its data that ends as an image does."""
    data = task.get('data') if isinstance(task.get('data'), dict) else task
    texts = [data.get('image'), *data.values(), task.get('file_upload')]
    texts = [text for text in texts if isinstance(text, str) and text]
    for text in texts:
        address = urlsplit(text) if '://' in text or text.startswith('/') else None
        local = parse_qs(address.query).get('d', []) if address else []  # /data/local-files/?d=
        name = local[0] if local else unquote(address.path if address else text)
        if is_image_name(name.replace('\\', '/')):
            return name.replace('\\', '/')
    return None


def _find(task: dict, path: Path, source: AnnotationSource) -> Path:
    """The image by its path, its name, or its name before it was uploaded."""
    name = _image_name(task)
    if name is None:
        raise LeftOutError('its data names no image')
    last = PurePosixPath(name).name
    first = None
    for text in dict.fromkeys((name.lstrip('/'), last)):
        try:
            return source.find_image(text, path)
        except LeftOutError as error:
            first = first or error
    raise first


def _regions(task: dict, place: str, collected: Collected) -> list[dict]:
    """The regions of a task's newest annotation, or those of JSON-MIN."""
    annotations = task.get('annotations', task.get('completions'))
    if annotations is None:
        lists = [value for value in task.values() if isinstance(value, list)]
        found = [item for value in lists for item in value if isinstance(item, dict)]
        if not found and 'annotation_id' not in task:
            raise LeftOutError('it is not annotated')
        return [dict(item, value=item) for item in found]
    if not isinstance(annotations, list):
        raise LeftOutError('its "annotations" are no list')
    usable = [a for a in annotations if isinstance(a, dict) and not a.get('was_cancelled')]
    if not usable:
        raise LeftOutError('it is not annotated')
    chosen = max(usable, key=lambda a: (bool(a.get('ground_truth')), str(a.get('updated_at', ''))))
    if len(usable) > 1:
        collected.notes.append((place, f'the newest of {len(usable)} annotations is used'))
    result = chosen.get('result')
    if not isinstance(result, list) or not all(isinstance(item, dict) for item in result):
        raise LeftOutError('its annotation has no list of regions')
    geometric = [item for item in result if isinstance(item.get('value'), dict)]
    return [item for item in geometric if 'original_width' in item]


def _region_names(region: dict) -> list:
    value = region['value']
    found = next((value[key] for key in _LABELS if isinstance(value.get(key), list)), [])
    return found


def _region_shape(
    region: dict, names: list, text: str, place: str, collected: Collected
) -> Shape | None:
    value = region['value']
    if not names:
        collected.notes.append((place, 'a region without a label is not drawn'))
        return None
    try:
        label = meaning(class_name(names[0], place))
    except UserError:
        raise LeftOutError(f'{text} has a label that is no line of text') from None
    if len(names) > 1:
        collected.notes.append((place, f'of {len(names)} labels the first is used'))
    width, height = region.get('original_width'), region.get('original_height')
    if not all(isinstance(side, int) and side > 0 for side in (width, height)):
        raise LeftOutError(f'{text} has no original_width and original_height')
    if region.get('image_rotation'):
        raise LeftOutError(
            f'it was rotated by {region["image_rotation"]} degrees in Label Studio; rotate the '
            'file instead'
        )
    if value.get('format') == 'rle' or 'rle' in value:
        return Shape(label, 'brush', value.get('rle'))
    if 'points' in value:
        points = points_of(value['points'], text)
        if len(points) < 3:
            collected.notes.append((place, f'a polygon of {len(points)} points is not drawn'))
            return None
        outline = [part for x, y in points for part in (x * width / 100, y * height / 100)]
        return Shape(label, 'polygons', [outline])
    if 'radiusX' in value:
        numbers = [value.get(key) for key in ('x', 'y', 'radiusX', 'radiusY')]
        ((x, y), (across, down)) = points_of([numbers[:2], numbers[2:]], text)
        turn = points_of([[value.get('rotation') or 0, 0]], text)[0][0]
        sides = (x * width / 100, y * height / 100, across * width / 100, down * height / 100)
        return Shape(label, 'ellipse', (*sides, turn))
    if 'width' in value and 'x' in value:
        return Shape(label, 'polygons', [_rectangle(value, text, width, height)])
    collected.notes.append((place, 'a region without an area is not drawn'))
    return None


def _rectangle(value: dict, text: str, width: int, height: int) -> list[float]:
    """The corners of a rectangle, which is rotated about its upper left one."""
    numbers: list[Any] = [value.get(key) for key in ('x', 'y', 'width', 'height')]
    (left, top), (wide, high) = points_of([numbers[:2], numbers[2:]], text)
    turn = math.radians(points_of([[value.get('rotation') or 0, 0]], text)[0][0])
    left, top = left * width / 100, top * height / 100
    wide, high = wide * width / 100, high * height / 100
    outline = []
    for x, y in ((0, 0), (wide, 0), (wide, high), (0, high)):
        outline += [
            left + x * math.cos(turn) - y * math.sin(turn),
            top + x * math.sin(turn) + y * math.cos(turn),
        ]
    return outline
