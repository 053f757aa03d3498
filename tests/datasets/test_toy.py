import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mmseg_pan import UserError
from mmseg_pan.datasets import ToyShapesDataset
from mmseg_pan.datasets.toy import SHAPES, draw_sample, make_toy_shapes


def contents(root):
    return {p.relative_to(root): p.read_bytes() for p in root.rglob('*') if p.is_file()}


def test_same_seed_same_bytes_and_other_seed_other_images(tmp_path):
    for name, seed in (('a', 0), ('b', 0), ('c', 1)):
        make_toy_shapes(tmp_path / name, train=3, val=2, size=48, seed=seed)
    a, b, c = (contents(tmp_path / name) for name in 'abc')
    assert len(a) == 2 * 5 + 2 + 1
    assert a == b
    images = [p for p in a if p.suffix == '.jpg']
    assert all(a[p] != c[p] for p in images)


def test_voc_layout(toy_root):
    for split, count in (('train', 16), ('val', 4)):
        names = (toy_root / f'ImageSets/Segmentation/{split}.txt').read_text().split()
        assert len(names) == count
        for name in names:
            image = Image.open(toy_root / f'JPEGImages/{name}.jpg')
            mask = Image.open(toy_root / f'SegmentationClass/{name}.png')
            assert (image.mode, mask.mode) == ('RGB', 'P')
            assert image.size == mask.size == (64, 64)
            assert mask.getpalette()[3:6] == [128, 0, 0]


def test_is_read_by_its_data_set(toy_root):
    dataset = ToyShapesDataset(
        data_root=str(toy_root),
        data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
        ann_file='ImageSets/Segmentation/train.txt',
    )
    assert len(dataset) == 16
    assert len(dataset.metainfo['classes']) == len(dataset.metainfo['palette']) == 7


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([32, 64, 128]))
def test_labels_are_legal_and_border_surrounds_objects(seed, size):
    image, mask = draw_sample(np.random.default_rng(seed), size)
    assert image.shape == (size, size, 3)
    assert set(np.unique(mask)) <= {*range(len(SHAPES) + 1), 255}
    # An object never touches background without border between them.
    for first, second in ((mask[1:], mask[:-1]), (mask[:, 1:], mask[:, :-1])):
        touching = (first != second) & (first != 255) & (second != 255)
        assert not (touching & ((first == 0) | (second == 0))).any()


def test_scales_are_very_different_and_every_class_comes():
    areas = {label: [] for label in range(1, len(SHAPES) + 1)}
    for seed in range(120):
        _, mask = draw_sample(np.random.default_rng(seed), 128)
        for label in set(np.unique(mask)) - {0, 255}:
            areas[label].append((mask == label).sum())
    for found in areas.values():
        assert len(found) > 20
        assert np.percentile(found, 95) > 15 * np.percentile(found, 5)


def test_colour_alone_decides_nothing():
    """The colours of one class lie as near to another class's as to its own."""
    colours = {label: [] for label in range(1, len(SHAPES) + 1)}
    for seed in range(200):
        image, mask = draw_sample(np.random.default_rng(seed), 64)
        for label in set(np.unique(mask)) - {0, 255}:
            colours[label].append(image[mask == label].mean(0))
    means = np.array([np.mean(c, 0) for c in colours.values()])
    spread = np.mean([np.std(c, 0) for c in colours.values()])
    assert spread > 20
    assert np.ptp(means, 0).max() < spread


def test_again_costs_nothing(toy_root):
    before = {p: p.stat().st_mtime_ns for p in toy_root.rglob('*')}
    assert make_toy_shapes(toy_root, train=16, val=4, size=64) is False
    assert before == {p: p.stat().st_mtime_ns for p in toy_root.rglob('*')}


def test_other_arguments_never_overwrite(tmp_path):
    make_toy_shapes(tmp_path / 'toy', train=1, val=1, size=32)
    with pytest.raises(UserError, match=r"toy contains {'train': 1.*remove it or name"):
        make_toy_shapes(tmp_path / 'toy', train=2, val=1, size=32)
    assert json.loads((tmp_path / 'toy/toy_shapes.json').read_text())['train'] == 1


def test_foreign_folder_is_left_alone(tmp_path):
    (tmp_path / 'toy').mkdir()
    (tmp_path / 'toy/mine.txt').write_text('mine')
    with pytest.raises(UserError, match='contains something else, not the toy data set'):
        make_toy_shapes(tmp_path / 'toy', train=1, val=1, size=32)
    assert (tmp_path / 'toy/mine.txt').read_text() == 'mine'


def test_nothing_half_written_when_it_fails(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(Image.Image, 'save', full)
    with pytest.raises(OSError, match='No space left'):
        make_toy_shapes(tmp_path / 'toy', train=1, val=1, size=32)
    assert list(tmp_path.iterdir()) == []
