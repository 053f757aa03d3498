"""COCO: masks as pycocotools reads them, and the files of Roboflow and CVAT."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from mmseg_pan import UserError
from mmseg_pan.annotations.rasterise import DRAWN
from mmseg_pan.annotations.records import LeftOutError
from tests.annotations.sources import convert, photograph, read_masks, save

CATEGORIES = [
    dict(id=3, name='кот', supercategory='', color='#ff8000'),
    dict(id=9, name='dog', supercategory='', color=[1, 2, 3]),
]


def coco(images: list[tuple], annotations: list[dict], categories=CATEGORIES) -> dict:
    """A file of images (id, name, width, height) and annotations."""
    keys = ('id', 'file_name', 'width', 'height')
    numbered = [dict(id=index, iscrowd=0, area=1) | a for index, a in enumerate(annotations, 1)]
    return dict(
        info={},
        licenses=[],
        images=[dict(zip(keys, image, strict=True)) for image in images],
        annotations=numbered,
        categories=categories,
    )


def runs(area: np.ndarray, compressed: bool) -> dict:
    """A mask as run lengths, by columns."""
    if compressed:
        found = coco_mask.encode(np.asfortranarray(area.astype(np.uint8)))
        return dict(size=found['size'], counts=found['counts'].decode())
    counts, last = [0], 0
    for value in area.flatten(order='F').astype(int):
        if value != last:
            counts.append(0)
            last = value
        counts[-1] += 1
    return dict(size=list(area.shape), counts=counts)


def ring(height: int, width: int) -> np.ndarray:
    area = np.zeros((height, width), bool)
    area[5:20, 4:21] = True
    area[9:12, 8:15] = False
    return area


@pytest.fixture
def source(tmp_path):
    """CVAT's layout, with holes, overlaps, crowds, odd sizes and an empty image."""
    images = [(5, 'a.jpg', 41, 33), (8, 'sub/b.jpg', 29, 37), (11, 'c.jpg', 17, 13)]
    for _, name, width, height in images:
        save(tmp_path / 'in/images' / name, photograph(width, height))
    two = [[1.5, 2, 30.2, 4, 18, 28.7, 3, 20], [20, 1, 40.9, 1, 40.9, 12.5]]
    annotations = [
        dict(image_id=5, category_id=9, segmentation=two),
        dict(image_id=5, category_id=3, segmentation=runs(ring(33, 41), True)),
        dict(image_id=8, category_id=3, segmentation=[[-4, -3, 35.5, 10, 12, 45]]),
        dict(image_id=8, category_id=9, segmentation=runs(ring(37, 29), False)),
        dict(image_id=5, category_id=9, segmentation=[[8, 8, 24, 8, 24, 30, 8, 30]], iscrowd=1),
    ]
    save(tmp_path / 'in/annotations/instances_default.json', coco(images, annotations))
    return tmp_path / 'in'


def test_masks_are_those_of_pycocotools(source, tmp_path):
    lines = convert(source, tmp_path / 'out')
    masks = read_masks(tmp_path / 'out')
    assert set(masks) == {'a', 'sub/b', 'c'}
    reference = COCO(str(source / 'annotations/instances_default.json'))
    ids = {3: 1, 9: 2}
    for image in reference.loadImgs(reference.getImgIds()):
        expected = np.zeros((image['height'], image['width']), np.uint8)
        for annotation in reference.imgToAnns[image['id']]:  # in the order of the file
            area = reference.annToMask(annotation).astype(bool)
            expected[area] = 255 if annotation['iscrowd'] else ids[annotation['category_id']]
        assert np.array_equal(masks[image['file_name'][:-4]], expected), image
    assert not masks['c'].any()
    assert any('1 кот' in line for line in lines)
    assert '[255, 128, 0], [1, 2, 3]' in (tmp_path / 'out/config.py').read_text()


def test_roboflow_keeps_its_split_and_loses_its_unused_category(tmp_path):
    kinds = [('fruit', 'none'), ('apple', 'fruit'), ('pear', 'fruit')]
    categories = [dict(id=i, name=n, supercategory=s) for i, (n, s) in enumerate(kinds)]
    for split, number in (('train', 3), ('valid', 2), ('test', 1)):
        names = [f'x{i}_jpg.rf.{i:032x}.jpg' for i in range(number)]
        for index, name in enumerate(names):
            save(tmp_path / 'in' / split / name, photograph(30, 20, index))
        images = [(index, name, 30, 20) for index, name in enumerate(names)]
        shapes = [
            dict(image_id=i, category_id=1 + i % 2, segmentation=[[1, 1, 20, 1, 20, 15]])
            for i in range(number)
        ]
        file = tmp_path / 'in' / split / '_annotations.coco.json'
        save(file, coco(images, shapes, categories))
    lines = convert(tmp_path / 'in', tmp_path / 'out')
    counts = {
        s: len(list((tmp_path / 'out/masks' / s).iterdir())) for s in ('train', 'val', 'test')
    }
    assert counts == dict(train=3, val=2, test=1)
    assert [line.split(':')[0].split()[1] for line in lines if '%' in line] == [
        'background',
        'apple',
        'pear',
    ]
    assert "img_path='images/test'" in (tmp_path / 'out/config.py').read_text()


def test_boxes_without_outline_are_ignored_and_named(source, tmp_path):
    box = dict(image_id=11, category_id=3, segmentation=[], bbox=[2, 3, 6, 5])
    file = source / 'annotations/instances_default.json'
    outline = dict(image_id=5, category_id=9, segmentation=[[1, 2, 30, 4, 18, 28]])
    images = [(5, 'a.jpg', 41, 33), (11, 'c.jpg', 17, 13)]
    save(file, coco(images, [outline, box]))
    lines = convert(source, tmp_path / 'out', val_share=0.5)
    mask = read_masks(tmp_path / 'out')['c']
    assert (mask[3:8, 2:8] == 255).all() and (mask == 255).sum() == 30
    assert any('annotation 1: a box without an outline is ignored' in line for line in lines)


def test_boxes_alone_are_no_masks(source, tmp_path):
    save(
        source / 'annotations/instances_default.json',
        coco([(11, 'c.jpg', 17, 13)], [dict(image_id=11, category_id=3, bbox=[])]),
    )
    with pytest.raises(UserError, match='no annotation with a segmentation'):
        convert(source, tmp_path / 'out')


@given(
    st.integers(1, 24),
    st.integers(1, 24),
    st.integers(0, 10_000),
    st.floats(0, 1),
    st.booleans(),
)
def test_run_lengths_return_the_mask(height, width, seed, share, compressed):
    area = np.random.default_rng(seed).random((height, width)) < share
    assert np.array_equal(DRAWN['run lengths'](runs(area, compressed), height, width), area)


@given(st.lists(st.tuples(st.floats(-50, 90), st.floats(-50, 90)), min_size=3, max_size=12))
def test_polygons_are_those_of_pycocotools(points):
    flat = [number for point in points for number in point]
    expected = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects([flat], 31, 37)))
    assert np.array_equal(DRAWN['polygons']([flat], 31, 37), expected.astype(bool))


@pytest.mark.parametrize(
    ('counts', 'reason'),
    [
        ([3, 4], 'do not add up'),
        ([3, 4, 10**9], 'do not add up'),
        ([-3, 23], 'do not add up'),
        (['3', 17], 'do not add up'),
        ('zzzzzzzz', 'cut off|compressed|add up'),
        ('0' * 5 + 'é', 'compressed run lengths'),
        ('o', 'cut off'),
    ],
)
def test_run_lengths_that_pycocotools_would_write_past_the_mask(counts, reason):
    with pytest.raises(LeftOutError, match=reason):
        DRAWN['run lengths'](dict(size=[4, 5], counts=counts), 4, 5)
