"""A small data set in folders, and the ways to read it."""

from pathlib import Path

import numpy as np
from mmseg.registry import DATASETS
from PIL import Image

from mmseg_pan.datasets import CheckedSegDataset

PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
HEIGHT, WIDTH = 24, 32


def colours() -> np.ndarray:
    """An image ``(H, W, 3)`` in RGB whose channels and sides all differ."""
    ramp = np.linspace(0, 250, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH)
    return np.dstack([ramp, ramp[:, ::-1] / 2, ramp[::-1] / 3 + 60]).astype(np.uint8)


def write_pair(root: Path, name: str = 'a.jpg', shape=(HEIGHT, WIDTH), ids=(0, 1)) -> Path:
    """Write an image and its mask, and return the image's path."""
    image = root / 'images' / name
    mask = (root / 'masks' / name).with_suffix('.png')
    for path in (image, mask):
        path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(colours()).save(image)
    values = np.resize(np.repeat(np.array(ids, np.uint8), 5), shape)
    Image.fromarray(values).save(mask)
    return image


def arguments(root: Path, **changes) -> dict:
    """The config of a data set of these folders."""
    return {
        'type': 'CheckedSegDataset',
        'data_root': str(root),
        'data_prefix': dict(img_path='images', seg_map_path='masks'),
        'metainfo': dict(classes=('background', 'part')),
        'pipeline': PIPELINE,
        **changes,
    }


def build(root: Path, **changes) -> CheckedSegDataset:
    """The data set itself."""
    return DATASETS.build(arguments(root, **changes))


def config_file(root: Path, **changes) -> Path:
    """A config that trains on it."""
    path = root / 'config.py'
    path.write_text(f'train_dataloader = {dict(dataset=arguments(root, **changes))!r}\n')
    return path
