"""Whatever kind of file an image is: 8-bit BGR, upright, or a sentence with its name."""

import os

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from mmseg_pan.errors import UserError
from mmseg_pan.inference.images import read_image
from tests.inference.odd_files import (
    BLUE,
    ORANGE,
    animation,
    jpeg_bytes,
    photograph,
    png_with_header,
    rotated_jpeg,
    write_broken,
    write_good,
)


def assert_photograph(image, tolerance: int = 0) -> None:
    """Orange on the left, blue on the right, channels in the order BGR."""
    assert image.shape == (40, 60, 3) and image.dtype == np.uint8
    for column, colour in ((10, ORANGE), (50, BLUE)):
        assert np.abs(image[20, column].astype(int) - colour[::-1]).max() <= tolerance


@pytest.mark.parametrize('suffix', ['bmp', 'png', 'ppm', 'tif', 'jpg', 'webp'])
def test_formats(tmp_path, suffix):
    photograph().save(tmp_path / f'a.{suffix}', quality=95)
    assert_photograph(read_image(tmp_path / f'a.{suffix}'), 6 if suffix in 'jpg webp' else 0)


def test_jpeg_is_what_the_loader_of_training_gives(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (37, 53, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / 'a.jpg')
    assert np.array_equal(read_image(tmp_path / 'a.jpg'), cv2.imread(str(tmp_path / 'a.jpg')))


@pytest.mark.parametrize('orientation', range(1, 9))
def test_exif_orientation(tmp_path, orientation):
    """As OpenCV, and so training, turns them."""
    rotated_jpeg(tmp_path / 'a.jpg', orientation)
    image = read_image(tmp_path / 'a.jpg')
    assert image.shape == ((60, 40, 3) if orientation >= 5 else (40, 60, 3))
    assert np.array_equal(image, cv2.imread(str(tmp_path / 'a.jpg')))


@pytest.mark.parametrize('suffix', ['png', 'webp'])
def test_exif_orientation_of_other_formats(tmp_path, suffix):
    exif = Image.Exif()
    exif[0x0112] = 6
    photograph().save(tmp_path / f'a.{suffix}', exif=exif, lossless=True)
    image = read_image(tmp_path / f'a.{suffix}')
    assert image.shape == (60, 40, 3)
    assert tuple(image[5, 20]) == ORANGE[::-1] and tuple(image[55, 20]) == BLUE[::-1]


@pytest.mark.parametrize('mode', ['L', '1', 'LA'])
def test_grey_has_three_equal_channels(tmp_path, mode):
    photograph().convert(mode).save(tmp_path / 'a.png')
    image = read_image(tmp_path / 'a.png')
    assert image.shape == (40, 60, 3)
    assert (image == image[:, :, :1]).all() and image.std() > 0


@pytest.mark.parametrize('mode, suffix', [('RGBA', 'png'), ('P', 'png'), ('P', 'gif')])
def test_opaque_and_palette(tmp_path, mode, suffix):
    image = photograph()
    (image.quantize(8) if mode == 'P' else image.convert(mode)).save(tmp_path / f'a.{suffix}')
    assert_photograph(read_image(tmp_path / f'a.{suffix}'), 4)


def test_cmyk(tmp_path):
    photograph().convert('CMYK').save(tmp_path / 'a.jpg', quality=95)
    assert_photograph(read_image(tmp_path / 'a.jpg'), 8)


@pytest.mark.parametrize('mode', ['RGBA', 'P'])
def test_transparent_parts_keep_their_colours(tmp_path, mode):
    """As OpenCV, and so training, loads them."""
    image = photograph().convert('RGBA')
    image.putalpha(Image.fromarray(np.repeat([[0] * 30 + [255] * 30], 40, 0).astype(np.uint8)))
    if mode == 'P':
        image = photograph().quantize(2)
        image.info['transparency'] = image.getpixel((10, 20))
    image.save(tmp_path / 'a.png')
    with Image.open(tmp_path / 'a.png') as saved:
        assert saved.has_transparency_data
    assert_photograph(read_image(tmp_path / 'a.png'), 4)


@pytest.mark.parametrize('suffix', ['png', 'tif'])
@given(values=arrays(np.uint16, (3, 5), elements=st.integers(0, 65535)))
def test_sixteen_bits_keep_the_upper_eight(suffix, tmp_path_factory, values):
    values[0, 0] = 65535
    path = tmp_path_factory.mktemp('deep') / f'a.{suffix}'
    Image.fromarray(values).save(path)
    image = read_image(path)
    assert np.array_equal(image, np.repeat((values >> 8)[:, :, None], 3, 2))


def test_sixteen_bits_of_colour(tmp_path):
    colours = np.array(photograph())[:, :, ::-1].astype(np.uint16) << 8
    cv2.imwrite(str(tmp_path / 'a.png'), colours)
    assert_photograph(read_image(tmp_path / 'a.png'))


@given(
    array=arrays(
        np.uint8,
        st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3)),
        elements=st.integers(0, 255),
    )
)
def test_any_image_comes_back(tmp_path_factory, array):
    path = tmp_path_factory.mktemp('any') / 'a.png'
    Image.fromarray(array).save(path)
    assert np.array_equal(read_image(path), array[:, :, ::-1])


@given(cut=st.integers(0, 400), flips=st.lists(st.integers(0, 10**6), max_size=5))
def test_damage_is_a_sentence_or_an_image(tmp_path_factory, cut, flips):
    """No decoder's exception gets through."""
    data = bytearray(jpeg_bytes()[: len(jpeg_bytes()) - cut])
    for flip in flips:
        data[flip % len(data)] ^= 255
    path = tmp_path_factory.mktemp('damaged') / 'a.jpg'
    path.write_bytes(data)
    try:
        assert read_image(path, lambda *size: None).dtype == np.uint8
    except UserError as error:
        assert str(path) in str(error)


REFUSED = {
    'cut.jpg': 'truncated, the JPEG has no end mark',
    'text.jpg': 'cannot identify image file',
    'empty.jpg': 'is empty',
    'folder.jpg': 'is a folder',
    'dangling.jpg': 'no longer exists',
    'animated.gif': r'animated .*3 frames',
    'huge.png': 'too large',
    'zero.png': 'cannot identify image file',
    'float.tif': 'mode F',
    'twelve_bits.png': 'no value above 900',
}


@pytest.mark.parametrize('name', REFUSED)
def test_refused_by_name(tmp_path, name):
    assert set(write_broken(tmp_path)) == set(REFUSED)

    def check_size(height, width):
        if height * width > 10**8:
            raise UserError('huge.png: too large')

    with pytest.raises(UserError, match=REFUSED[name]) as raised:
        read_image(tmp_path / name, check_size)
    assert name in str(raised.value) and '\n' not in str(raised.value)


def test_all_good_ones_are_read(tmp_path):
    for name in write_good(tmp_path):
        assert read_image(tmp_path / name).ndim == 3


def test_refuses_32_bits(tmp_path):
    Image.fromarray(np.ones((4, 4), np.int32)).save(tmp_path / 'a.tif')
    with pytest.raises(UserError, match=r'a\.tif: unknown range, .* in mode I,'):
        read_image(tmp_path / 'a.tif')


def test_refuses_pages(tmp_path):
    animation(tmp_path / 'a.tif', frames=2)
    with pytest.raises(UserError, match=r'pages \(2 frames'):
        read_image(tmp_path / 'a.tif')


def test_opens_no_formats_with_programs(tmp_path):
    """Pillow hands PostScript to an interpreter."""
    (tmp_path / 'a.jpg').write_text('%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EOF\n')
    with pytest.raises(UserError, match='cannot identify image file'):
        read_image(tmp_path / 'a.jpg')


@pytest.mark.skipif(os.geteuid() == 0, reason='root may read everything')
def test_unreadable(tmp_path):
    photograph().save(tmp_path / 'a.png')
    (tmp_path / 'a.png').chmod(0)
    with pytest.raises(UserError, match='cannot be read'):
        read_image(tmp_path / 'a.png')


def test_size_is_checked_before_anything_is_decoded(tmp_path):
    """The header lies: with a limit of Pillow's own or by decoding it would fail otherwise."""
    png_with_header(tmp_path / 'a.png', 70_000, 50_000)
    seen = []

    def refuse(height, width):
        seen.append((height, width))
        raise UserError('too large')

    limit = Image.MAX_IMAGE_PIXELS
    with pytest.raises(UserError, match='too large'):
        read_image(tmp_path / 'a.png', refuse)
    assert seen == [(50_000, 70_000)]
    assert limit == Image.MAX_IMAGE_PIXELS
