"""Label Studio: brush masks as its SDK decodes them, polygons in percent, uploads."""

import json
from urllib.parse import quote

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from mmseg_pan.annotations.rasterise import DRAWN, decode_brush
from mmseg_pan.annotations.records import LeftOutError
from tests.annotations.sources import convert, from_rows, photograph, read_masks, save
from tests.paths import ROOT

#: A mask, and its run lengths by mask2rle of label-studio-sdk 2.1.2.
BRUSH = json.loads((ROOT / 'tests/annotations/brush_miniature.json').read_text())


def region(kind: str, label: str | None, size: tuple[int, int], number: str = 'r', **value) -> dict:
    """A region as Label Studio exports it."""
    names = {kind: [label]} if label else {}
    return dict(
        id=number,
        type=kind,
        from_name='label',
        to_name='image',
        original_width=size[0],
        original_height=size[1],
        image_rotation=0,
        value=value | names,
    )


def task(number: int, image: str, regions: list[dict], **annotation) -> dict:
    """A task with one annotation."""
    found = dict(id=number, was_cancelled=False, ground_truth=False, result=regions) | annotation
    return dict(id=number, data=dict(image=image), annotations=[found])


def polygon(label: str, size: tuple[int, int], points=((10, 10), (60, 12), (40, 80))) -> dict:
    return region('polygonlabels', label, size, points=[list(p) for p in points], closed=True)


def test_brush_and_polygons(tmp_path):
    expected = from_rows(BRUSH['mask'], {'.': 0, '#': 1})
    height, width = expected.shape
    name = 'фото 1.png'
    save(tmp_path / f'in/{name}', photograph(width, height))
    save(tmp_path / 'in/images/0a1b2c3d-second.png', photograph(50, 40))
    brush = region('brushlabels', 'stem', (width, height), format='rle', rle=BRUSH['rle'])
    export = [
        task(1, f'/data/upload/3/0a1b2c3d-{quote(name)}', [brush]),
        task(2, '/data/upload/3/0a1b2c3d-second.png', [polygon('лист', (50, 40))]),
    ]
    file = save(tmp_path / 'in/project-3-at-2024-01-01.json', export)
    lines = convert(file, tmp_path / 'out', val_share=0.5)
    masks = read_masks(tmp_path / 'out')
    assert np.array_equal(masks['фото 1'], expected)
    flat = [5, 4, 30, 4.8, 20, 32]
    drawn = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects([flat], 40, 50)))
    assert np.array_equal(masks['0a1b2c3d-second'], 2 * drawn)
    assert any('2 лист' in line for line in lines)


@pytest.mark.parametrize(
    'address',
    [
        '/data/local-files/?d=shots/one%20two.png',
        's3://bucket/shots/one%20two.png',
        'https://host/x/one%20two.png?token=1',
        'upload/7/00ff00ff-one two.png',
        'C:\\shots\\one two.png',
    ],
)
def test_the_image_is_found(tmp_path, address):
    save(tmp_path / 'in/shots/one two.png', photograph(20, 10))
    save(tmp_path / 'in/other.png', photograph(20, 10))
    tasks = [task(i, n, [polygon('a', (20, 10))]) for i, n in enumerate((address, 'other.png'))]
    save(tmp_path / 'in/export.json', tasks)
    convert(tmp_path / 'in', tmp_path / 'out', val_share=0.5)
    assert len(read_masks(tmp_path / 'out')) == 2


def test_tasks_without_annotation_are_left_out_and_named(tmp_path):
    for name in 'abcd':
        save(tmp_path / f'in/{name}.png', photograph(20, 10))
    tasks = [task(i, f'{n}.png', [polygon('a', (20, 10))]) for i, n in enumerate('abcd')]
    tasks[1]['annotations'] = []
    tasks[2]['annotations'][0]['was_cancelled'] = True
    tasks[3]['annotations'][0]['result'] = []
    save(tmp_path / 'in/export.json', tasks)
    lines = convert(tmp_path / 'in', tmp_path / 'out', val_share=0.5)
    assert sorted(read_masks(tmp_path / 'out')) == ['a', 'd']
    left = [line for line in lines if line.startswith('Left out')]
    assert left == [
        'Left out: export.json, task 1 (b.png): it is not annotated.',
        'Left out: export.json, task 2 (c.png): it is not annotated.',
    ]


def test_labels_stored_beside_the_polygon_and_the_short_format(tmp_path):
    for name in 'ab':
        save(tmp_path / f'in/{name}.png', photograph(20, 10))
    points = [[0, 0], [50, 0], [50, 100], [0, 100]]
    pair = [
        region('polygon', None, (20, 10), 'q', points=points),
        region('labels', 'leaf', (20, 10), 'q', points=points),
    ]
    size = dict(original_width=20, original_height=10)
    short = dict(id=2, image='b.png', annotation_id=4)
    short['label'] = [dict(points=points, polygonlabels=['leaf'], **size)]
    save(tmp_path / 'in/export.json', [task(1, 'a.png', pair), short])
    convert(tmp_path / 'in', tmp_path / 'out', val_share=0.5)
    for mask in read_masks(tmp_path / 'out').values():
        assert mask[:, :10].all() and not mask[:, 10:].any()


def test_rectangles_and_ellipses(tmp_path):
    for name in 'ab':
        save(tmp_path / f'in/{name}.png', photograph(40, 30))
    box = region('rectanglelabels', 'x', (40, 30), x=50, y=20, width=20, height=10, rotation=90)
    disc = region('ellipselabels', 'x', (40, 30), x=50, y=50, radiusX=25, radiusY=20, rotation=0)
    save(tmp_path / 'in/e.json', [task(1, 'a.png', [box]), task(2, 'b.png', [disc])])
    convert(tmp_path / 'in', tmp_path / 'out', val_share=0.5)
    masks = read_masks(tmp_path / 'out')
    rows, columns = np.nonzero(masks['a'])  # 8 x 3 pixels, turned about (20, 6) to the left
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (17, 19, 6, 13)
    assert abs(int(masks['b'].sum()) - np.pi * 10 * 6) < 4


def encode(values: list[int]) -> list[int]:
    """Values by the specification of rle-pack, in runs and in literal stretches."""
    bits = f'{len(values):032b}' + f'{7:05b}' + ''.join(f'{n - 1:04b}' for n in (3, 4, 8, 16))
    start = 0
    while start < len(values):
        end = start + 1
        while end < len(values) and values[end] == values[start]:
            end += 1
        if end - start > 1:
            bits += '1' + '11' + f'{end - start - 1:016b}' + f'{values[start]:08b}'
        else:
            end = min(start + 3, len(values))
            bits += '0' + '00' + f'{end - start - 1:03b}'
            bits += ''.join(f'{value:08b}' for value in values[start:end])
        start = end
    bits += '0' * (-len(bits) % 8)
    return [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]


@given(st.lists(st.sampled_from([0, 255, 7]), min_size=1, max_size=300))
def test_brush_values_return(values):
    assert decode_brush(encode(values), len(values)).tolist() == values


def test_the_decoder_of_the_sdk_agrees():
    brush = pytest.importorskip(
        'label_studio_sdk.converter.brush', reason='label-studio-sdk is not installed'
    )
    height, width = len(BRUSH['mask']), len(BRUSH['mask'][0])
    theirs = brush.decode_rle(BRUSH['rle']).reshape(height, width, 4)[..., 3] > 0
    assert np.array_equal(DRAWN['brush'](BRUSH['rle'], height, width), theirs)


@pytest.mark.parametrize(
    ('rle', 'reason'),
    [
        ([1, 2], 'cut off'),
        (BRUSH['rle'][:-5], 'cut off'),
        ([255, 255, 255, 255, *BRUSH['rle'][4:]], 'of 4,294,967,295 values'),
        ([0, 300], 'no list of bytes'),
        (None, 'no list of bytes'),
        ('text', 'no list of bytes'),
    ],
)
def test_damaged_brush_masks(rle, reason):
    with pytest.raises(LeftOutError, match=reason):
        DRAWN['brush'](rle, len(BRUSH['mask']), len(BRUSH['mask'][0]))
