"""Folders of masks: values and colours in the layouts of Roboflow, CVAT and others."""

import numpy as np
import pytest
from PIL import Image

from mmseg_pan import UserError
from mmseg_pan.annotations.mask_values import read_table
from tests.annotations.sources import convert, photograph, read_masks, save

COLOURS = np.array([[0, 0, 0], [250, 50, 83], [51, 221, 255]], np.uint8)
SIZES = [(21, 17), (16, 30), (11, 13), (25, 25)]


def values(index: int, high: int = 3) -> np.ndarray:
    """Ids of an odd size; all of them occur."""
    width, height = SIZES[index % len(SIZES)]
    found = np.random.default_rng(index).integers(0, high, (height, width), np.uint8)
    found.flat[:high] = range(high)
    return found


def image(index: int) -> Image.Image:
    return photograph(*SIZES[index % len(SIZES)], index)


def names_of(lines: list[str]) -> list[str]:
    return [line.split(':')[0].strip() for line in lines if '%' in line]


def check(out, count: int, of=lambda mask: mask) -> None:
    """Every mask has the ids of its index, and a palette."""
    masks = read_masks(out)
    assert sorted(masks) == [f'm{index}' for index in range(count)]
    for index in range(count):
        assert np.array_equal(masks[f'm{index}'], of(values(index))), index
    assert all(Image.open(path).mode == 'P' for path in out.glob('masks/*/*.png'))


def test_roboflow(tmp_path):
    for index in range(4):
        folder = tmp_path / 'in' / ('train', 'valid')[index > 1]
        save(folder / f'm{index}.jpg', image(index))
        save(folder / f'm{index}_mask.png', values(index))
        save(folder / '_classes.csv', 'Pixel Value, Class\n0, background\n1, cat\n2, Собака\n')
    lines = convert(tmp_path / 'in', tmp_path / 'out')
    check(tmp_path / 'out', 4)
    assert names_of(lines) == ['0 background', '1 cat', '2 Собака']
    assert len(list((tmp_path / 'out/images/val').iterdir())) == 2


@pytest.mark.parametrize('mode', ['RGB', 'P', 'L'])
def test_cvat(tmp_path, mode):
    for index in range(4):
        save(tmp_path / f'in/JPEGImages/m{index}.jpg', image(index))
        mask = Image.fromarray(values(index))  # grey: the numbers of the lines
        if mode == 'P':
            mask.putpalette(COLOURS.tobytes())
        elif mode == 'RGB':
            mask = Image.fromarray(COLOURS[values(index)])
        save(tmp_path / f'in/SegmentationClass/m{index}.png', mask)
        save(tmp_path / f'in/SegmentationObject/m{index}.png', np.zeros_like(values(index)))
    table = (
        '# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:250,50,83::\ndog:51,221,255::\n'
    )
    save(tmp_path / 'in/labelmap.txt', table)
    save(tmp_path / 'in/ImageSets/Segmentation/train.txt', 'm0\nm1\nm2\n')
    save(tmp_path / 'in/ImageSets/Segmentation/val.txt', 'm3\n')
    lines = convert(tmp_path / 'in', tmp_path / 'out')
    check(tmp_path / 'out', 4)
    assert names_of(lines) == ['0 background', '1 cat', '2 dog']
    assert (tmp_path / 'out/masks/val/m3.png').is_file()
    assert '[250, 50, 83]' in (tmp_path / 'out/config.py').read_text()


@pytest.mark.parametrize(
    ('images', 'masks', 'end'),
    [
        ('images', 'masks', ''),
        ('img', 'labels', ''),
        ('train/images', 'train/masks', ''),
        ('images/train', 'masks/train', '_mask'),
        ('train_images', 'train_masks', ''),
        ('train', 'trainannot', ''),
        ('', 'mask', ''),
        ('', '', '_label'),
    ],
)
def test_layouts(tmp_path, images, masks, end):
    for index in range(4):
        save(tmp_path / 'in' / images / f'm{index}.png', image(index))
        save(tmp_path / 'in' / masks / f'm{index}{end}.png', values(index))
    lines = convert(tmp_path / 'in', tmp_path / 'out')
    check(tmp_path / 'out', 4)
    assert names_of(lines) == ['0 background', '1 class 1', '2 class 2']


def test_palette_with_ignored_pixels(tmp_path):
    for index in range(4):
        save(tmp_path / f'in/images/m{index}.png', image(index))
        mask = Image.fromarray(np.where(values(index) == 2, 255, values(index)).astype(np.uint8))
        mask.putpalette([0, 0, 0, 200, 100, 50] + [9] * 762)
        save(tmp_path / f'in/masks/m{index}.png', mask)
    convert(tmp_path / 'in', tmp_path / 'out')
    check(tmp_path / 'out', 4, lambda ids: np.where(ids == 2, 255, ids))
    assert '[200, 100, 50]' in (tmp_path / 'out/config.py').read_text()


@pytest.mark.parametrize('mode', ['L', 'RGB', '1', 'LA', 'RGBA'])
def test_black_and_white(tmp_path, mode):
    for index in range(4):
        save(tmp_path / f'in/images/m{index}.png', image(index))
        white = Image.fromarray(np.where(values(index) > 0, 255, 0).astype(np.uint8))
        save(tmp_path / f'in/masks/m{index}.png', white.convert(mode))
    lines = convert(tmp_path / 'in', tmp_path / 'out')
    check(tmp_path / 'out', 4, lambda ids: ids > 0)
    assert names_of(lines)[1] in ('1 foreground', '1 class 1')


def test_colours_with_a_table(tmp_path):
    for index in range(4):
        save(tmp_path / f'in/images/m{index}.png', image(index))
        save(tmp_path / f'in/masks/m{index}.png', COLOURS[values(index)])
    with pytest.raises(UserError, match='no table says what they mean; write a file'):
        convert(tmp_path / 'in', tmp_path / 'out')
    table = save(tmp_path / 't.csv', 'name,r,g,b\nroad,0,0,0\nsky,250,50,83\ncar,51,221,255\n')
    lines = convert(tmp_path / 'in', tmp_path / 'out', labels=table)
    check(tmp_path / 'out', 4)
    assert names_of(lines) == ['0 road', '1 sky', '2 car']


def test_a_colour_that_the_table_lacks(tmp_path):
    for index in range(4):
        save(tmp_path / f'in/images/m{index}.png', image(index))
        save(tmp_path / f'in/masks/m{index}.png', COLOURS[values(index)])
    strange = COLOURS[values(1)]
    strange[5, 3] = 1, 2, 3
    save(tmp_path / 'in/masks/m1.png', strange)
    save(tmp_path / 'in/label_colors.txt', '0 0 0 road\n250 50 83 sky\n51 221 255 car\n')
    lines = convert(tmp_path / 'in', tmp_path / 'out')
    assert sorted(read_masks(tmp_path / 'out')) == ['m0', 'm2', 'm3']
    assert (
        'Left out: masks/m1.png: its mask m1.png has the colour #010203 (row 5, column 3), which '
        'no class has.' in lines
    )


TABLES = ['cat\ndog\n', 'background\ncat\ndog\n', '_background_\ncat\ndog\n']


@pytest.mark.parametrize('table', TABLES)
def test_names_alone_with_and_without_background(tmp_path, table):
    for index in range(4):
        save(tmp_path / f'in/images/m{index}.png', image(index))
        save(tmp_path / f'in/masks/m{index}.png', values(index))
    save(tmp_path / 'in/labels.txt', table)
    lines = convert(tmp_path / 'in', tmp_path / 'out')
    check(tmp_path / 'out', 4)
    assert names_of(lines) == ['0 background', '1 cat', '2 dog']


@pytest.mark.parametrize('table', ['crack\n', 'background\ncrack\n'])
def test_name_of_white(tmp_path, table):
    for index in range(4):
        save(tmp_path / f'in/images/m{index}.png', image(index))
        save(tmp_path / f'in/masks/m{index}.png', (255 * (values(index) > 0)).astype(np.uint8))
    save(tmp_path / 'in/classes.txt', table)
    lines = convert(tmp_path / 'in', tmp_path / 'out')
    check(tmp_path / 'out', 4, lambda ids: ids > 0)
    assert names_of(lines) == ['0 background', '1 crack']


def test_what_is_left_out(tmp_path):
    for index in range(4):
        save(tmp_path / f'in/images/m{index}.png', image(index))
        save(tmp_path / f'in/masks/m{index}.png', values(index))
    save(tmp_path / 'in/masks/alone.png', values(0))
    save(tmp_path / 'in/masks/m3.png', values(0))  # another size
    save(tmp_path / 'in/images/lossy.png', image(0))
    save(tmp_path / 'in/masks/lossy.jpg', values(0))
    lines = convert(tmp_path / 'in', tmp_path / 'out')
    assert [line for line in lines if line.startswith('Left out')] == [
        f"Left out: masks/alone.png: no image in {tmp_path / 'in'} is named 'alone'.",
        'Left out: masks/lossy.jpg: its mask lossy.jpg is a JPEG, which changes values; save it '
        'as PNG.',
        'Left out: masks/m3.png: its annotation is for 21x17 pixels, and the image has 25x25.',
    ]


def test_background_can_be_ignored(tmp_path):
    for index in range(4):
        save(tmp_path / f'in/images/m{index}.png', image(index))
        save(tmp_path / f'in/masks/m{index}.png', values(index))
    convert(tmp_path / 'in', tmp_path / 'out', unlabelled='ignore')
    check(tmp_path / 'out', 4, lambda ids: np.where(ids, ids - 1, 255))


def test_photographs_are_no_masks(tmp_path):
    save(tmp_path / 'in/images/a.png', photograph(40, 40))
    with pytest.raises(UserError, match='holds images and no masks; put the masks into a folder'):
        convert(tmp_path / 'in', tmp_path / 'out')
    save(tmp_path / 'in/masks/a.png', np.asarray(photograph(40, 40))[..., 0])
    with pytest.raises(UserError, match='different values, as photographs have'):
        convert(tmp_path / 'in', tmp_path / 'out')


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('cat\nbig dog\n', [('cat', None, None), ('big dog', None, None)]),
        ('0 cat\n7: dog\n', [('cat', 0, None), ('dog', 7, None)]),
        ('id,name\n3,cat\n', [('cat', 3, None)]),
        ('cat,1,2,3\n', [('cat', None, (1, 2, 3))]),
        ('5,cat,1,2,3\n', [('cat', 5, (1, 2, 3))]),
        ('1 2 3\tcat\ncat b 4 5 6\n', [('cat', None, (1, 2, 3)), ('cat b', None, (4, 5, 6))]),
        ('cat #ff0010\ndog,#00ff00\n', [('cat', None, (255, 0, 16)), ('dog', None, (0, 255, 0))]),
    ],
)
def test_tables(tmp_path, text, expected):
    entries = read_table(save(tmp_path / 't.txt', text))
    assert [(entry.name, entry.value, entry.colour) for entry in entries] == expected


@pytest.mark.parametrize(
    ('text', 'match'),
    [
        ('cat,1,2,300\n', 'line 1, has a colour outside of 0 to 255'),
        ('cat\ndog,1,2\n', r"line 2, 'dog,1,2' is not understood"),
        ('cat\ncat\n', "has the name 'cat' twice"),
        ('0 cat\n0 dog\n', 'has the value 0 twice'),
        ('# nothing\n', 'names no class'),
    ],
)
def test_tables_that_are_wrong(tmp_path, text, match):
    with pytest.raises(UserError, match=match):
        read_table(save(tmp_path / 't.txt', text))
