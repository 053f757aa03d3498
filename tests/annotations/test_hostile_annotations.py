"""Annotations that nobody draws: clipped where it is meant, else left out with the reason."""

import json
import re

import numpy as np
import pytest

from mmseg_pan import UserError
from tests.annotations.sources import (
    convert,
    labelme,
    photograph,
    read_masks,
    save,
    shape,
    triangles,
)

NAN, BOX = float('nan'), [[1, 1], [9, 1], [9, 9]]

#: What is put into a LabelMe file, and the reason that is printed.
LABELME = {
    'nan': (dict(shapes=[shape('a', [[NAN, 1], [2, 2], [3, 1]])]), 'no pair of numbers'),
    'infinity': (dict(shapes=[shape('a', [[1e999, 1], [2, 2], [3, 1]])]), 'no pair of numbers'),
    'far out': (dict(shapes=[shape('a', [[1e6, 1], [2, 2], [3, 1]])]), r'\(1e\+06, 1\), far out'),
    'radius': (dict(shapes=[shape('a', [[1, 1], [150, 120]], 'circle')]), ''),
    'text': (dict(shapes=[shape('a', [['1', 1], [2, 2], [3, 1]])]), 'no pair of numbers'),
    'triples': (dict(shapes=[shape('a', [[1, 1, 1]] * 3)]), 'no pair of numbers'),
    'points': (dict(shapes=[shape('a', [[1, 1]] * 100_001)]), '100,001 points, more than 100,000'),
    'no points': (dict(shapes=[dict(label='a')]), 'shape 0 has no list of points'),
    'no label': (dict(shapes=[shape(None, BOX)]), 'shape 0 has no label'),
    'no shapes': (dict(shapes=7), 'its "shapes" are no list'),
    'mask': (dict(shapes=[shape('a', BOX[:2], 'mask', mask='!')]), 'a mask that cannot be decoded'),
    'size': (dict(imageWidth=10**9, imageHeight=10**9), 'is for 1000000000x1000000000 pixels'),
    'other size': (dict(imageWidth=16, imageHeight=20), 'is for 16x20 pixels, and the image has'),
    'path': (dict(imagePath='../../secret.png'), 'which is not below'),
    'absolute path': (dict(imagePath='/etc/hostname.png'), "its image 'hostname.png' is not in"),
    'no path': (dict(imagePath=None), 'it names no image'),
    'image data': (dict(imagePath='gone.png', imageData='AAAA'), 'its image is refused'),
}


@pytest.mark.parametrize('name', list(LABELME))
def test_one_file_is_left_out(tmp_path, name):
    change, reason = LABELME[name]
    triangles(tmp_path / 'in', 4, 'a')
    save(tmp_path / 'secret.png', photograph(20, 16))
    content = labelme('z.png', (20, 16), [shape('a', BOX)]) | change
    if content['imagePath'] == 'z.png':
        save(tmp_path / 'in/z.png', photograph(20, 16))
    save(tmp_path / 'in/bad.json', content)
    lines = convert(tmp_path / 'in', tmp_path / 'out')
    left = [line for line in lines if line.startswith('Left out: bad.json: ')]
    assert len(left) == bool(reason)
    assert not reason or re.search(reason, left[0])
    assert len(read_masks(tmp_path / 'out')) == 4 + (not reason)


@pytest.mark.parametrize(
    ('text', 'reason'),
    [
        ('{"shapes": [\n1,,', 'line 2, column 3 is no valid JSON'),
        ('[' * 100_000, 'no usable JSON|no valid JSON'),
        ('\udcff', 'is not UTF-8'),
        ('{"a": ' + '9' * 5000 + '}', 'no usable JSON'),
    ],
)
def test_a_file_that_is_no_json(tmp_path, text, reason):
    triangles(tmp_path / 'in', 4)
    (tmp_path / 'in/bad.json').write_bytes(text.encode('utf-8', 'surrogateescape'))
    lines = convert(tmp_path / 'in', tmp_path / 'out')
    (left,) = [line for line in lines if line.startswith('Left out: bad.json: ')]
    assert re.search(reason, left)


def test_points_outside_are_clipped(tmp_path):
    triangles(tmp_path / 'in', 2)
    wide = shape('part', [[-30, -3], [60, -3], [60, 7.4], [-30, 7.4]])
    save(tmp_path / 'in/z.png', photograph(20, 16))
    save(tmp_path / 'in/z.json', labelme('z.png', (20, 16), [wide]))
    convert(tmp_path / 'in', tmp_path / 'out')
    mask = read_masks(tmp_path / 'out')['z']
    assert mask[:8].all() and not mask[8:].any()


def test_what_has_no_area_is_named(tmp_path):
    triangles(tmp_path / 'in', 3, 'a')
    file = tmp_path / 'in/000.json'
    content = json.loads(file.read_text())
    content['shapes'] += [shape('a', BOX[:2]), shape('a', BOX, 'points'), shape('a', BOX, 'cube')]
    save(file, content)
    lines = convert(tmp_path / 'in', tmp_path / 'out')
    assert 'Note: 000.json, shape 1: a polygon of 2 points is not drawn.' in lines
    assert "Note: 000.json, shape 3: a 'cube' has no area and is not drawn." in lines


def test_nothing_stays_where_all_are_left_out(tmp_path):
    triangles(tmp_path / 'in', 3)
    for path in (tmp_path / 'in').glob('*.png'):
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match=r'0 images can be used, .* 3 were left out \(000\.json: '):
        convert(tmp_path / 'in', tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def test_names_of_classes(tmp_path):
    triangles(tmp_path / 'in', 3, 'x\ny')
    with pytest.raises(UserError, match=r'nothing to convert as labelme: .*shape 0 has no label'):
        convert(tmp_path / 'in', tmp_path / 'out')


@pytest.mark.parametrize(
    ('files', 'match'),
    [
        ({}, 'holds no annotations of LabelMe, COCO.*no files'),
        ({'a.xml': '<annotations/>'}, 'export CVAT as "COCO 1.0"'),
        ({'a.zip': 'PK'}, 'unpack the archive and give the folder'),
        ({'a.json': '{'}, r'a\.json: line 1, column 2 is no valid JSON'),
        ({'a.json': '[]'}, 'holds no annotations'),
        (
            {
                'a.json': '{"images": 1, "annotations": 1, "categories": 1}',
                'b.json': '[{"data": 1}]',
            },
            r'holds coco \(a\.json\) and label-studio \(b\.json\); choose one with',
        ),
    ],
)
def test_sources_that_are_not_recognised(tmp_path, files, match):
    (tmp_path / 'in').mkdir()
    for name, text in files.items():
        (tmp_path / 'in' / name).write_text(text)
    with pytest.raises(UserError, match=match) as error:
        convert(tmp_path / 'in', tmp_path / 'out')
    assert len(str(error.value)) <= 300


@pytest.mark.parametrize(
    ('content', 'match'),
    [
        (dict(images=[1], annotations=[], categories=[]), 'item 0 of "images" is no object'),
        (dict(images=[], annotations={}, categories=[]), '"annotations" is no list'),
        (dict(images=[], annotations=[], categories=[dict(id=1, name='')]), "a class named ''"),
        (dict(images=[], annotations=[], categories=[]), 'nothing to convert as coco'),
    ],
)
def test_coco_files_that_are_wrong(tmp_path, content, match):
    with pytest.raises(UserError, match=match):
        convert(save(tmp_path / 'in/a.json', content), tmp_path / 'out')


def test_an_unknown_category_leaves_its_image_out(tmp_path):
    part = dict(segmentation=[[1, 1, 9, 1, 9, 9]], category_id=1)
    images = [dict(id=i, file_name=f'{i}.png', width=20, height=16) for i in range(3)]
    for item in images:
        save(tmp_path / 'in' / item['file_name'], photograph(20, 16))
    content = dict(
        images=images,
        annotations=[part | dict(image_id=i) for i in range(2)]
        + [part | dict(image_id=2, category_id=5), part | dict(image_id=77)],
        categories=[dict(id=1, name='a')],
    )
    save(tmp_path / 'in/a.json', content)
    lines = convert(tmp_path / 'in', tmp_path / 'out', val_share=0.5)
    assert any('annotation 2 has the category 5, which the file does not' in s for s in lines)
    assert 'Note: a.json, annotation 3: no image has the id 77.' in lines
    assert np.sum([m.sum() for m in read_masks(tmp_path / 'out').values()]) > 0
