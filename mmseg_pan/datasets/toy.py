"""The toy data set: shapes that cannot be distinguished by colour or at one scale.

Six shapes, from 4 to 32 pixels in radius, on textured, greyish backgrounds. All classes
draw from the same colours and objects hide each other, so only outlines tell the classes
apart: small objects need fine resolution, large ones need context, which is what PAN
claims to bring together.
"""

import json
import os
import shutil
import tempfile
from pathlib import Path

import cv2
import numpy as np
from mmseg.registry import DATASETS
from PIL import Image

from mmseg_pan.errors import UserError
from mmseg_pan.outputs import check_writable

from .checked import CheckedSegDataset, VOCAugDataset
from .masks import encode_mask

IGNORE = 255
RECIPE = 'toy_shapes.json'  # written last: says that the set is whole, and which it is


def _polygon(*angles_and_radii: tuple[float, float]) -> np.ndarray:
    """Corners of a polygon from (angle in turns, radius), as an (n, 2) array."""
    turns, radii = np.array(angles_and_radii).T
    return np.stack([np.sin(2 * np.pi * turns), -np.cos(2 * np.pi * turns)], 1) * radii[:, None]


_ARM = 0.33  # half the width of the cross's arms
#: Class name -> outline in the unit circle, (n, 2). The ring is a disk with a hole.
SHAPES = {
    'disk': _polygon(*((i / 48, 1) for i in range(48))),
    'ring': _polygon(*((i / 48, 1) for i in range(48))),
    'square': _polygon(*((i / 4 + 1 / 8, 1) for i in range(4))),
    'triangle': _polygon(*((i / 3, 1) for i in range(3))),
    'star': _polygon(*((i / 10, (1, 0.4)[i % 2]) for i in range(10))),
    'cross': np.array(
        [
            [-_ARM, -1], [_ARM, -1], [_ARM, -_ARM], [1, -_ARM], [1, _ARM], [_ARM, _ARM],
            [_ARM, 1], [-_ARM, 1], [-_ARM, _ARM], [-1, _ARM], [-1, -_ARM], [-_ARM, -_ARM],
        ]
    ),
}  # fmt: skip


@DATASETS.register_module()
class ToyShapesDataset(CheckedSegDataset):
    """The toy set in VOC's layout: background and six shapes, border 255."""

    METAINFO = dict(
        classes=('background', *SHAPES),
        palette=VOCAugDataset.METAINFO['palette'][: len(SHAPES) + 1],
    )
    HINT = 'make it with "python tools/dataset_converters/toy_shapes.py"'


def draw_sample(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw one image and its mask.

    Args:
        rng: Source of every random choice.
        size: Side in pixels.

    Returns:
        Image (size, size, 3) and mask (size, size), both uint8; mask ids are 0 for
        background, 1 to 6 for the shapes, 255 for the pixel-wide border around them.
    """
    image = _texture(rng, size, saturation=0.2)
    mask = np.zeros((size, size), np.uint8)
    # Large objects first, so that they do not swallow the small ones.
    radii = np.sort(np.exp(rng.uniform(np.log(4), np.log(0.25 * size), rng.integers(5, 11))))
    for radius in radii[::-1]:
        label = int(rng.integers(1, len(SHAPES) + 1))
        inside = _object(rng, list(SHAPES)[label - 1], radius, size)
        image[inside] = _texture(rng, size, saturation=1.0)[inside]
        border = cv2.dilate(inside.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
        mask[border] = IGNORE
        mask[inside] = label
    noise = rng.normal(0, 4, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8), mask


def _object(rng: np.random.Generator, name: str, radius: float, size: int) -> np.ndarray:
    """Boolean (size, size) map of one shape, its centre inside the image."""
    angle = rng.uniform(-0.25, 0.25)  # radians: upright, as most things in photographs are
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    centre = rng.uniform(0.05 * size, 0.95 * size, 2)
    canvas = np.zeros((size, size), np.uint8)
    outline = SHAPES[name] @ turn.T * radius
    cv2.fillPoly(canvas, [np.round(centre + outline).astype(np.int32)], 1)
    if name == 'ring':
        cv2.fillPoly(canvas, [np.round(centre + 0.5 * outline).astype(np.int32)], 0)
    return canvas.astype(bool)


def _texture(rng: np.random.Generator, size: int, saturation: float) -> np.ndarray:
    """Float (size, size, 3) image: smooth light and dark of one hue."""
    cells = int(rng.integers(2, 17))
    noise = cv2.resize(rng.random((cells, cells)), (size, size), interpolation=cv2.INTER_CUBIC)
    # A hue is one weight for each channel; the strongest is 1, the weakest 1 - saturation.
    weights = rng.permutation([1.0, 1 - saturation * rng.random(), 1 - saturation])
    brightness = rng.uniform(110, 190) + 60 * np.clip(noise, 0, 1)
    return brightness[..., None] * weights


def make_toy_shapes(
    root: str | Path, train: int = 1000, val: int = 100, size: int = 128, seed: int = 0
) -> bool:
    """Write the toy set in VOC's layout; the same arguments give the same images.

    The folder appears under its name when it is whole, and not before.

    Args:
        root: Folder to make.
        train: Training images.
        val: Validation images.
        size: Side of an image in pixels.
        seed: Seed of everything random.

    Returns:
        Whether anything had to be written.

    Raises:
        UserError: If the folder is there and holds something else.
    """
    root = Path(root)
    recipe = dict(train=train, val=val, size=size, seed=seed)
    if root.exists():
        return _check_existing(root, recipe)
    check_writable(root.parent, 'the folder')
    root.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f'.{root.name}-', dir=root.parent))
    try:
        _write(partial, recipe)
        partial.chmod(0o755)  # mkdtemp is private
        os.replace(partial, root)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return True


def _check_existing(root: Path, recipe: dict) -> bool:
    try:
        found = json.loads((root / RECIPE).read_text())
    except (OSError, ValueError):
        found = 'something else'
    if found == recipe:
        return False
    raise UserError(
        f'{root} contains {found}, not the toy data set {recipe}; remove it or name another folder.'
    )


def _write(root: Path, recipe: dict) -> None:
    folders = {name: root / name for name in ('JPEGImages', 'SegmentationClass')}
    lists = root / 'ImageSets' / 'Segmentation'
    for folder in (*folders.values(), lists):
        folder.mkdir(parents=True)
    for number, split in enumerate(('train', 'val')):
        names = [f'{split}_{i:05d}' for i in range(recipe[split])]
        for i, name in enumerate(names):
            rng = np.random.default_rng([recipe['seed'], number, i])
            image, mask = draw_sample(rng, recipe['size'])
            Image.fromarray(image).save(folders['JPEGImages'] / f'{name}.jpg', quality=95)
            (folders['SegmentationClass'] / f'{name}.png').write_bytes(encode_mask(mask))
        (lists / f'{split}.txt').write_text(''.join(f'{name}\n' for name in names))
    (root / RECIPE).write_text(json.dumps(recipe))
