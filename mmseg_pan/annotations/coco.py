"""COCO JSON, also as Roboflow, CVAT and Label Studio export it."""

from collections import defaultdict
from pathlib import Path
from typing import Any

from mmseg_pan.errors import UserError

from .rasterise import points_of
from .recognition import AnnotationSource, split_of
from .records import (
    BACKGROUND,
    IGNORED,
    MOST_POINTS,
    UNLABELLED,
    Collected,
    LeftOutError,
    NamedClass,
    Record,
    Shape,
    class_name,
    meaning,
    parse_colour,
)

#: A mask of one pixel has two numbers; longer lists belong to no annotation.
_MOST_RUNS = 50_000_000


def read_coco(source: AnnotationSource) -> Collected:
    """Read every COCO file of a source, with the images of its folders.

    Raises:
        UserError: If a file is damaged, or no annotation has an outline.
    """
    collected, classes, records = Collected(), {}, {}
    used, parents = set(), set()
    files = []
    for path, content in source.contents('coco'):
        files.append(path)
        _read_file(path, content, source, collected, classes, records, used, parents)
    collected.records = list(records.values())
    # Roboflow lists the name of its project as a category above the others.
    kept = [item for item in classes.values() if item.name in used or item.name not in parents]
    collected.classes = kept
    if collected.records and not any(record.shapes for record in collected.records):
        raise UserError(
            f'{files[0]} has no annotation with a segmentation, and masks need outlines; export '
            'polygons or masks instead of boxes.'
        )
    return collected


def _read_file(
    path: Path,
    content: dict,
    source: AnnotationSource,
    collected: Collected,
    classes: dict[str, NamedClass],
    records: dict[Any, Record],
    used: set[str],
    parents: set[str],
) -> None:
    shown = source.shown(path)
    labels = _categories(content.get('categories'), path, classes, parents)
    split = source.split_of(path)
    if split is None:  # instances_train2017.json
        split = next(filter(None, map(split_of, reversed(path.stem.split('_')))), None)
    by_image = defaultdict(list)
    for index, annotation in enumerate(_dicts(content['annotations'], path, 'annotations')):
        by_image[str(annotation.get('image_id'))].append((index, annotation))
    known = set()
    for index, image in enumerate(_dicts(content['images'], path, 'images')):
        place = f'{shown}, image {index}'
        number = str(image.get('id'))
        name = str(image.get('file_name'))[:100]
        if number in known:
            collected.left_out.append((f'{place} ({name})', f'another image has the id {number}'))
            continue
        known.add(number)
        try:
            file = source.find_image(image.get('file_name'), path, split)
            shapes = []
            for number_of, annotation in by_image.get(number, ()):
                shapes += _shapes(annotation, number_of, shown, labels, collected)
        except LeftOutError as error:
            collected.left_out.append((f'{place} ({name})', str(error)))
            continue
        size = image.get('width'), image.get('height')
        size = size if all(isinstance(side, int) and side > 0 for side in size) else None
        used.update(shape.label for shape in shapes)
        if file in records:  # several files about the same images
            records[file].shapes += shapes
            continue
        part = source.split_of(file) or split
        records[file] = Record(source.name_of(file), file, place, size, shapes, split=part)
    for number in by_image.keys() - known:
        index = by_image[number][0][0]
        collected.notes.append((f'{shown}, annotation {index}', f'no image has the id {number}'))


def _dicts(value: Any, path: Path, name: str) -> list[dict]:
    if not isinstance(value, list):
        raise UserError(f'{path}: "{name}" is no list; export it as COCO again.')
    for index, item in enumerate(value):
        if not isinstance(item, dict):
            raise UserError(f'{path}: item {index} of "{name}" is no object; export it again.')
    return value


def _categories(
    value: Any, path: Path, classes: dict[str, NamedClass], parents: set[str]
) -> dict[str, str]:
    """Label by category id; new classes are added in the order of their ids."""
    labels = {}
    items = _dicts(value or [], path, 'categories')
    for item in sorted(items, key=lambda item: item['id'] if _is_id(item.get('id')) else 0):
        name = class_name(item.get('name'), f'{path}, category {str(item.get("id"))[:20]},')
        label = labels[str(item.get('id'))] = meaning(name)
        above = item.get('supercategory')
        if isinstance(above, str) and above not in ('none', '', name):
            parents.add(above)
        if label in (IGNORED, BACKGROUND, UNLABELLED):
            continue
        colour = parse_colour(item.get('color'))
        classes.setdefault(label, NamedClass(name, colour))
    return labels


def _is_id(value: Any) -> bool:
    return isinstance(value, int)


def _shapes(
    annotation: dict, index: int, shown: str, labels: dict[str, str], collected: Collected
) -> list[Shape]:
    """The areas of an annotation; boxes without an outline are ignored areas."""
    place, text = f'{shown}, annotation {index}', f'annotation {index}'
    number = str(annotation.get('category_id'))
    if number not in labels:
        raise LeftOutError(f'{text} has the category {number[:20]}, which the file does not list')
    label = IGNORED if annotation.get('iscrowd') else labels[number]
    outline = annotation.get('segmentation')
    if isinstance(outline, dict):
        return [Shape(label, 'run lengths', _runs(outline, text))]
    if outline and not isinstance(outline, list):
        raise LeftOutError(f'{text} has a segmentation that is neither polygons nor run lengths')
    if outline and not isinstance(outline[0], list):
        outline = [outline]  # one polygon, without the list around it
    polygons = [_flat_polygon(item, text) for item in outline or []]
    kept = [polygon for polygon in polygons if len(polygon) >= 6]
    if len(kept) < len(polygons):
        collected.notes.append((place, 'a polygon of fewer than three points is not drawn'))
    if kept:
        return [Shape(label, 'polygons', kept)]
    box = annotation.get('bbox')
    if polygons or not isinstance(box, list) or len(box) != 4:
        return []
    (left, top), (width, height) = points_of([box[:2], box[2:]], text)
    if width <= 0 or height <= 0:
        return []
    collected.notes.append((place, 'a box without an outline is ignored in training'))
    right, bottom = left + width, top + height
    return [Shape(IGNORED, 'polygons', [[left, top, right, top, right, bottom, left, bottom]])]


def _flat_polygon(value: Any, text: str) -> list[float]:
    if not isinstance(value, list) or len(value) % 2:
        raise LeftOutError(f'{text} has a polygon that is no list of x, y, x, y, ...')
    if len(value) > 2 * MOST_POINTS:
        raise LeftOutError(f'{text} has {len(value) // 2:,} points, more than {MOST_POINTS:,}')
    pairs = list(zip(value[::2], value[1::2], strict=True))
    return [number for point in points_of(pairs, text) for number in point]


def _runs(value: dict, text: str) -> dict:
    size, counts = value.get('size'), value.get('counts')
    sound = isinstance(size, list) and len(size) == 2 and all(isinstance(n, int) for n in size)
    if not sound or not isinstance(counts, (str, list)) or len(counts) > _MOST_RUNS:
        raise LeftOutError(f'{text} has run lengths without a size of two numbers and counts')
    return dict(size=size, counts=counts)
