"""Miniature sources of annotations, written as each format's specification says."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from mmseg_pan.annotations.convert_annotations import Options, convert_annotations


def photograph(width: int, height: int, seed: int = 0) -> Image.Image:
    """An image of noise; a size of its own."""
    values = np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)
    return Image.fromarray(values)


def save(path: Path, content) -> Path:
    """Write an image, an array, text, or anything else as JSON, into a folder that is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, np.ndarray):
        content = Image.fromarray(content)
    if isinstance(content, Image.Image):
        content.save(path)
    elif isinstance(content, str):
        path.write_text(content, encoding='utf-8')
    else:
        path.write_text(json.dumps(content, ensure_ascii=False), encoding='utf-8')
    return path


def labelme(name: str, size: tuple[int, int], shapes: list[dict], **more) -> dict:
    """The content of a LabelMe file."""
    content = dict(version='5.4.1', flags={}, imagePath=name, imageData=None)
    return content | dict(shapes=shapes, imageWidth=size[0], imageHeight=size[1]) | more


def shape(label: str, points: list, kind: str = 'polygon', **more) -> dict:
    """A shape of LabelMe."""
    return dict(label=label, points=points, shape_type=kind, group_id=None, flags={}) | more


def triangles(folder: Path, count: int, label: str = 'part', size: tuple[int, int] = (20, 16)):
    """LabelMe files of ``count`` images with a triangle each."""
    for index in range(count):
        name = f'{index:03d}.png'
        save(folder / name, photograph(*size, index))
        points = [[2, 2], [15, 3 + index % 5], [4, 12]]
        save(folder / f'{index:03d}.json', labelme(name, size, [shape(label, points)]))
    return folder


def convert(source: Path, out: Path, **options) -> list[str]:
    """Convert in this process; what the tool prints."""
    lines: list[str] = []
    convert_annotations(source, out, Options(**dict(processes=1) | options), lines.append)
    return lines


def read_masks(out: Path) -> dict[str, np.ndarray]:
    """The masks of all splits, by their path below the split without suffix."""
    found = {}
    for path in sorted(out.glob('masks/*/**/*.png')):
        found['/'.join(path.relative_to(out).parts[2:])[:-4]] = np.asarray(Image.open(path))
    return found


def from_rows(rows: list[str], ids: dict[str, int]) -> np.ndarray:
    """A mask drawn with characters."""
    return np.array([[ids[character] for character in row] for row in rows], np.uint8)
