"""Shapes to masks, to the pixel as each format's own library draws them.

LabelMe's shapes are drawn with Pillow, with the outline, the width of lines (10 pixels) and the
radius of points (5 pixels) that its ``shapes_to_label`` has. COCO's polygons and run lengths are
drawn by pycocotools; so are Label Studio's polygons, which has no rasteriser but exports COCO.

Label Studio's brush masks are decoded here: label-studio-sdk requires opencv-python-headless, which
overwrites the OpenCV of both stacks. A test compares the two where the SDK is installed.
"""

import base64
import binascii
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from pycocotools import mask as coco_mask

from mmseg_pan.datasets.reading import BadImageError, open_mask

from .records import MOST_POINTS, LeftOutError, Record

#: LabelMe's kinds of shapes, with the least and the most points; None: any number.
LABELME = {
    'polygon': (3, None),
    'rectangle': (2, 2),
    'oriented_rectangle': (4, 4),
    'circle': (2, 2),
    'line': (2, 2),
    'linestrip': (2, None),
    'point': (1, 1),
    'mask': (2, 2),
}
_LINE, _POINT = 10, 5  # pixels

#: How far out of the image, in image sides, a point may lie: annotators overshoot the edges.
_OVERSHOOT = 10

Points = Sequence[tuple[float, float]]


def points_of(value: Any, place: str) -> list[tuple[float, float]]:
    """Pairs of finite numbers.

    Raises:
        LeftOutError: If they are none, or too many.
    """
    if not isinstance(value, list):
        raise LeftOutError(f'{place} has no list of points')
    if len(value) > MOST_POINTS:
        raise LeftOutError(f'{place} has {len(value):,} points, more than {MOST_POINTS:,}')
    points = []
    for point in value:
        pair = isinstance(point, (list, tuple)) and len(point) == 2
        if not pair or not all(map(_is_coordinate, point)):
            raise LeftOutError(f'{place} has a point {str(point)[:40]} that is no pair of numbers')
        points.append((point[0], point[1]))
    return points


def _is_coordinate(value: Any) -> bool:
    plain = isinstance(value, (int, float)) and not isinstance(value, bool)
    return plain and abs(value) < 1e9  # false for NaN and infinity


def rasterise(record: Record, ids: dict[str, int], unlabelled: int, size: tuple[int, int]):
    """Draw the shapes of a record, each over those before it.

    Args:
        record: With shapes.
        ids: Class id by label.
        unlabelled: Id where no shape is.
        size: Height and width.

    Returns:
        Class ids, ``(H, W)`` uint8.

    Raises:
        LeftOutError: If a shape lies far out of the image or does not fit it.
    """
    mask = np.full(size, unlabelled, np.uint8)
    for index, shape in enumerate(record.shapes):
        try:
            area = DRAWN[shape.kind](shape.data, *size)
        except LeftOutError as error:
            raise LeftOutError(f'shape {index} ({shape.label!r}) {error}') from None
        mask[area] = ids[shape.label]
    return mask


def _check_near(points: Points, height: int, width: int) -> None:
    for x, y in points:
        if not (
            -_OVERSHOOT * width <= x <= (_OVERSHOOT + 1) * width
            and -_OVERSHOOT * height <= y <= (_OVERSHOOT + 1) * height
        ):
            raise LeftOutError(
                f'has the point ({x:g}, {y:g}), far out of the image of {width}x{height}'
            )


def _labelme(kind: str) -> Callable[[Any, int, int], np.ndarray]:
    def draw(points: Points, height: int, width: int) -> np.ndarray:
        _check_near(points, height, width)
        image = Image.new('L', (width, height))
        pen = ImageDraw.Draw(image)
        first, last = points[0], points[-1]
        if kind in ('polygon', 'oriented_rectangle'):
            pen.polygon(points, fill=1, outline=1)
        elif kind == 'rectangle':
            low, high = (
                map(min, zip(first, last, strict=True)),
                map(max, zip(first, last, strict=True)),
            )
            pen.rectangle([*low, *high], fill=1, outline=1)
        elif kind == 'circle':
            _ellipse(pen, first, math.dist(first, last), (height, width))
        elif kind == 'point':
            _ellipse(pen, first, _POINT, (height, width))
        else:
            pen.line(points, fill=1, width=_LINE)
        return np.asarray(image, bool)

    return draw


def _ellipse(pen: ImageDraw.ImageDraw, centre, radius: float, size: tuple[int, int]) -> None:
    if radius > _OVERSHOOT * max(size):
        raise LeftOutError(f'has a radius of {radius:g} pixels, and the image {size[1]}x{size[0]}')
    x, y = centre
    pen.ellipse([x - radius, y - radius, x + radius, y + radius], fill=1, outline=1)


def _labelme_mask(data: tuple[Points, str], height: int, width: int) -> np.ndarray:
    points, text = data
    _check_near(points, height, width)
    try:
        stored = np.asarray(open_mask(base64.b64decode(text))).astype(bool)
    except (binascii.Error, ValueError, BadImageError) as error:
        raise LeftOutError(f'is a mask that cannot be decoded ({str(error)[:60]})') from None
    (left, top), (right, bottom) = ((int(x), int(y)) for x, y in points)
    if stored.shape != (bottom - top + 1, right - left + 1):
        raise LeftOutError(
            f'is a mask of {stored.shape[1]}x{stored.shape[0]} in a box of '
            f'{right - left + 1}x{bottom - top + 1}'
        )
    area = np.zeros((height, width), bool)
    rows, columns = slice(max(top, 0), bottom + 1), slice(max(left, 0), right + 1)
    inside = area[rows, columns]
    y, x = max(-top, 0), max(-left, 0)
    inside |= stored[y : y + inside.shape[0], x : x + inside.shape[1]]
    return area


def _polygons(polygons: list[list[float]], height: int, width: int) -> np.ndarray:
    """The union of polygons, each ``[x, y, x, y, ...]`` with three points at least."""
    for polygon in polygons:
        _check_near(list(zip(polygon[::2], polygon[1::2], strict=True)), height, width)
    runs = coco_mask.frPyObjects([list(map(float, item)) for item in polygons], height, width)
    return coco_mask.decode(coco_mask.merge(runs)).astype(bool)


def _run_lengths(data: dict, height: int, width: int) -> np.ndarray:
    """COCO's run lengths, compressed or not.

    pycocotools writes past the mask, or leaves parts of it unset, where they do not add up.
    """
    if tuple(data['size']) != (height, width):
        rows, columns = data['size']
        raise LeftOutError(f'is a mask of {columns}x{rows} in an image of {width}x{height}')
    counts = data['counts']
    counts = _uncompressed(counts) if isinstance(counts, str) else counts
    whole = all(isinstance(count, int) and count >= 0 for count in counts)
    if not whole or sum(counts) != height * width:
        raise LeftOutError(f'has run lengths that do not add up to {height * width:,} pixels')
    runs = coco_mask.frPyObjects(dict(size=[height, width], counts=counts), height, width)
    return coco_mask.decode(runs).astype(bool)


def _uncompressed(text: str) -> list[int]:
    """Run lengths from pycocotools' text: six bits a character, differences from the third on."""
    counts, value, shift = [], 0, 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 40:
            raise LeftOutError(f'has {character!r} in its compressed run lengths')
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value = shift = 0
    if shift:
        raise LeftOutError('has compressed run lengths that are cut off')
    return counts


def _brush(rle: list[int], height: int, width: int) -> np.ndarray:
    """Label Studio's run lengths of an RGBA image, of which it draws where alpha is not 0."""
    values = decode_brush(rle, 4 * height * width)
    return values.reshape(height, width, 4)[..., 3] > 0


def decode_brush(rle: Sequence[int], expected: int) -> np.ndarray:
    """Values that Label Studio stores with the JavaScript library rle-pack.

    A stream of bits: the number of values (32 bits), the bits of a value less 1 (5), four lengths
    less 1 (4 each); then for each run a flag, the index of a length (2), the run's length less 1,
    and one value if the flag is set, else as many values.

    Args:
        rle: Its bytes.
        expected: How many values there have to be.

    Returns:
        ``(expected,)`` uint8.

    Raises:
        LeftOutError: If it holds another number of values, or is no such stream.
    """
    try:
        packed = bytes(rle)
    except (TypeError, ValueError):
        raise LeftOutError('has a brush mask that is no list of bytes') from None
    bits = np.unpackbits(np.frombuffer(packed, np.uint8))
    place = 0

    def take(count: int) -> int:
        nonlocal place
        if place + count > len(bits):
            raise LeftOutError('has a brush mask that is cut off')
        value = int(bits[place : place + count] @ (1 << np.arange(count - 1, -1, -1)))
        place += count
        return value

    number, word = take(32), take(5) + 1
    if number != expected or word != 8:
        raise LeftOutError(
            f'has a brush mask of {number:,} values of {word} bits, and the image needs '
            f'{expected:,} of 8'
        )
    lengths = [take(4) + 1 for _ in range(4)]
    values, done = np.zeros(expected, np.uint8), 0
    while done < number:
        repeated = take(1)
        end = done + 1 + take(lengths[take(2)])
        if end > number:
            raise LeftOutError('has a brush mask with a run that is too long')
        if repeated:
            values[done:end] = take(8)
        else:
            size = 8 * (end - done)
            if place + size > len(bits):
                raise LeftOutError('has a brush mask that is cut off')
            values[done:end] = np.packbits(bits[place : place + size])
            place += size
        done = end
    return values


def _ellipse_area(data: tuple[float, ...], height: int, width: int) -> np.ndarray:
    """Pixels whose centre is inside of an ellipse: centre, two radii, and degrees clockwise."""
    x, y, horizontal, vertical, degrees = data
    _check_near([(x, y)], height, width)
    if min(horizontal, vertical) <= 0:
        return np.zeros((height, width), bool)
    turn = math.radians(degrees)
    rows, columns = np.ogrid[:height, :width]
    across, down = columns + 0.5 - x, rows + 0.5 - y
    along = (across * math.cos(turn) + down * math.sin(turn)) / horizontal
    aside = (down * math.cos(turn) - across * math.sin(turn)) / vertical
    return along**2 + aside**2 <= 1


#: What draws each kind of shape: data, height and width to a boolean mask ``(H, W)``.
DRAWN: dict[str, Callable[[Any, int, int], np.ndarray]] = {
    **{f'labelme {kind}': _labelme(kind) for kind in LABELME},
    'labelme mask': _labelme_mask,
    'polygons': _polygons,
    'run lengths': _run_lengths,
    'brush': _brush,
    'ellipse': _ellipse_area,
}
