"""LabelMe: masks as its own library draws them, and what its files may look like."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from mmseg_pan import UserError
from tests.annotations.sources import (
    convert,
    from_rows,
    labelme,
    photograph,
    read_masks,
    save,
    shape,
    triangles,
)
from tests.paths import ROOT

#: Shapes of every kind, and the mask of labelme 6.3.1's own shapes_to_label.
MINIATURE = json.loads((ROOT / 'tests/annotations/labelme_miniature.json').read_text())


def test_every_kind_of_shape_as_labelme_draws_it(tmp_path):
    for name in ('miniature', 'second'):
        save(tmp_path / f'in/{name}.png', photograph(47, 31))
        save(tmp_path / f'in/{name}.json', MINIATURE['annotation'] | dict(imagePath=f'{name}.png'))
    lines = convert(tmp_path / 'in', tmp_path / 'out', val_share=0.5)
    expected = from_rows(MINIATURE['mask'], {'.': 0, '1': 1, '2': 2, '3': 3, '#': 255})
    masks = read_masks(tmp_path / 'out')
    assert set(masks) == {'miniature', 'second'}
    assert all(np.array_equal(mask, expected) for mask in masks.values())
    assert [line.split(':')[0].strip() for line in lines if '%' in line] == [
        '0 background',
        '1 a',
        '2 b',
        '3 c',
    ]


def test_later_shapes_cover_earlier_ones(tmp_path):
    triangles(tmp_path / 'in', 1)
    boxes = [shape(n, [[2, 2], [9, 9]], 'rectangle') for n in ('under', 'over')]
    save(tmp_path / 'in/b.png', photograph(20, 16))
    save(tmp_path / 'in/b.json', labelme('b.png', (20, 16), boxes))
    convert(tmp_path / 'in', tmp_path / 'out')
    assert set(np.unique(read_masks(tmp_path / 'out')['b'])) == {0, 1}  # over, part, under


def test_file_of_labels_gives_the_order_and_classes_without_shapes(tmp_path):
    triangles(tmp_path / 'in', 2)
    save(tmp_path / 'in/labels.txt', '__ignore__\n_background_\n2 euros\npart\n叶子\n')
    lines = convert(tmp_path / 'in', tmp_path / 'out', val_share=0.5)
    assert all(set(np.unique(m)) == {0, 2} for m in read_masks(tmp_path / 'out').values())
    assert any('叶子' in line and 'which cannot be learnt' in line for line in lines)


def test_file_of_labels_that_lacks_a_class(tmp_path):
    triangles(tmp_path / 'in', 2)
    order = save(tmp_path / 'order.txt', 'other\n')
    with pytest.raises(UserError, match=r"order\.txt does not list the class 'part'"):
        convert(tmp_path / 'in', tmp_path / 'out', labels=order)
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
    ('place', 'named'),
    [
        ('a b.JPG', 'a b.JPG'),
        ('a b.JPG', '.\\a b.JPG'),
        ('a b.JPG', 'C:\\Users\\me\\pictures\\a b.JPG'),
        ('images/a b.JPG', 'a b.JPG'),
        ('images/a b.JPG', '..\\images\\a b.JPG'),
        ('photos/deep/a b.JPG', '/home/me/a b.JPG'),
        ('a b.png', 'a b.JPG'),
    ],
)
def test_the_image_is_found(tmp_path, place, named):
    triangles(tmp_path / 'in', 1)
    save(tmp_path / 'in' / place, photograph(20, 16))
    save(tmp_path / 'in/a b.json', labelme(named, (20, 16), [shape('x', [[1, 1], [8, 1], [1, 8]])]))
    lines = convert(tmp_path / 'in', tmp_path / 'out')
    assert len(read_masks(tmp_path / 'out')) == 2
    assert not any('Left out' in line for line in lines)


def test_an_embedded_image(tmp_path):
    triangles(tmp_path / 'in', 1)
    file = io.BytesIO()
    photograph(20, 16, 7).save(file, 'PNG')
    text = base64.b64encode(file.getvalue()).decode()
    box = shape('part', [[1, 1], [5, 5]], 'rectangle')
    save(tmp_path / 'in/e.json', labelme('gone.jpg', (20, 16), [box], imageData=text))
    convert(tmp_path / 'in', tmp_path / 'out')
    (image,) = (tmp_path / 'out').glob('images/*/e.png')
    assert np.array_equal(np.asarray(Image.open(image)), np.asarray(photograph(20, 16, 7)))


def test_an_image_without_shapes_is_background(tmp_path):
    triangles(tmp_path / 'in', 1)
    save(tmp_path / 'in/empty.png', photograph(9, 7))
    save(tmp_path / 'in/empty.json', labelme('empty.png', (9, 7), []))
    convert(tmp_path / 'in', tmp_path / 'out')
    assert read_masks(tmp_path / 'out')['empty'].shape == (7, 9)
    assert not read_masks(tmp_path / 'out')['empty'].any()


def test_unlabelled_areas_can_be_ignored(tmp_path):
    triangles(tmp_path / 'in', 3)
    for index in range(3):
        file = tmp_path / f'in/{index:03d}.json'
        content = json.loads(file.read_text())
        content['shapes'].insert(0, shape('_background_', [[0, 0], [19, 4]], 'rectangle'))
        save(file, content)
    lines = convert(tmp_path / 'in', tmp_path / 'out', unlabelled='ignore')
    assert all(set(np.unique(m)) == {0, 1, 255} for m in read_masks(tmp_path / 'out').values())
    assert any(line.strip().startswith('0 background: ') for line in lines)


def test_one_class_and_ignored_areas_are_nothing_to_learn(tmp_path):
    triangles(tmp_path / 'in', 3)
    with pytest.raises(UserError, match=r"'part' alone.*omit .--unlabelled ignore"):
        convert(tmp_path / 'in', tmp_path / 'out', unlabelled='ignore')


def test_images_without_annotation_are_counted(tmp_path):
    triangles(tmp_path / 'in', 3)
    save(tmp_path / 'in/more.png', photograph(9, 7))
    lines = convert(tmp_path / 'in', tmp_path / 'out')
    assert 'Note: more.png: 1 images without a JSON file are not used.' in lines
