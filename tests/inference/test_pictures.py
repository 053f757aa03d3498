"""Label maps as pictures that show what is there, and only that."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mmseg_pan.datasets import VOCAugDataset
from mmseg_pan.datasets.masks import encode_mask
from mmseg_pan.errors import UserError
from mmseg_pan.inference.pictures import Painter

VOC = VOCAugDataset.METAINFO
META = dict(classes=('background', 'cat', 'dog'), palette=[[0, 0, 0], [200, 0, 0], [0, 0, 200]])
GREY = np.full((60, 80, 3), 100, np.uint8)


def labels_with(*ids: int, shape=(60, 80)) -> np.ndarray:
    """A label map of broad stripes."""
    labels = np.zeros(shape, np.uint8)
    for index, stripe in enumerate(np.array_split(np.arange(shape[1]), len(ids))):
        labels[:, stripe] = ids[index]
    return labels


def decode(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def test_overlay_blends_classes_and_leaves_the_background():
    labels = labels_with(0, 1)
    picture = np.asarray(decode(Painter(META).encode(GREY, labels)))
    assert tuple(picture[30, 10]) == (100, 100, 100)
    assert tuple(picture[30, 60]) == (150, 50, 50)  # half grey, half the class; RGB
    assert picture[30, 39].min() > 240  # the outline
    assert picture.shape[0] > 60 and picture.shape[1] >= 80


def test_legend_lists_the_classes_present_the_largest_first(texts):
    labels = labels_with(2, 2, 0)
    labels[0, 0] = 1
    Painter(META).overlay(GREY, labels)
    assert texts == ['dog 67%', 'background 32%', 'cat <1%']
    texts.clear()
    Painter(META).overlay(GREY, labels_with(0))
    assert texts == ['background 100%']


def test_legend_shows_the_colours():
    picture = Painter(META).overlay(GREY, labels_with(1, 2))
    legend = picture[60:, :, ::-1].reshape(-1, 3)
    for colour in ([200, 0, 0], [0, 0, 200]):
        assert (legend == colour).all(1).sum() > 50


@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    seed=st.integers(0, 99),
    rows=st.sampled_from([None, 1, 2]),
)
def test_overlay_of_any_size(height, width, seed, rows):
    random = np.random.default_rng(seed)
    labels = random.integers(0, 21, (height, width), dtype=np.uint8)
    image = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
    picture = Painter(VOC).overlay(image, labels, rows)
    assert picture.dtype == np.uint8 and picture.shape[0] > height
    assert np.array_equal(picture[:height, width:], picture[:height, width:] * 0 + 40)
    if rows:  # a video's frames have one size
        other = Painter(VOC).overlay(image, labels * 0, rows)
        assert other.shape == picture.shape and other.shape[1] == width


def test_legend_fits(texts):
    """No name is cut, whatever the width."""
    labels = np.arange(21, dtype=np.uint8).reshape(3, 7).repeat(9, 0).repeat(9, 1)
    narrow = Painter(VOC).overlay(np.zeros((27, 63, 3), np.uint8), labels)
    assert len(texts) == 21
    assert (narrow[27:, -3:] == 40).all()  # nothing at the right border


def test_outlines_and_letters_grow_with_the_image():
    legends, lines = [], []
    for height in (300, 3000):
        labels = labels_with(0, 1, shape=(height, height))
        picture = Painter(META).overlay(np.zeros((height, height, 3), np.uint8), labels)
        legends.append(len(picture) - height)
        lines.append((picture[height // 2] > 240).all(1).sum())
    assert legends[0] < 50 and legends[1] > 3 * legends[0]
    assert lines[0] == 1 and lines[1] > 3


def test_palette_is_that_of_voc_masks():
    labels = labels_with(*range(21), shape=(10, 42))
    data = Painter(VOC, 'palette').encode(GREY, labels)
    mask, expected = (Image.open(io.BytesIO(d)) for d in (data, encode_mask(labels)))
    assert mask.mode == 'P' and mask.palette.getdata() == expected.palette.getdata()
    assert np.array_equal(mask, expected) and np.array_equal(mask, labels)


def test_palette_of_other_classes():
    picture = decode(Painter(META, 'palette').encode(GREY, labels_with(0, 2)))
    assert picture.mode == 'P'
    assert np.array_equal(np.asarray(picture), labels_with(0, 2))
    assert picture.convert('RGB').getpixel((60, 30)) == (0, 0, 200)


@pytest.mark.parametrize('palette', [None, [[9, 9, 9]]])
def test_missing_colours_are_vocs(palette):
    painter = Painter(dict(classes=['a', 'b'], palette=palette), 'palette')
    picture = decode(painter.encode(GREY, labels_with(0, 1))).convert('RGB')
    assert picture.getpixel((60, 30)) == (128, 0, 0)


@given(st.data())
def test_class_ids_come_back(data):
    classes = data.draw(st.sampled_from([2, 256, 300]))
    kind = np.uint8 if classes <= 256 else np.uint16
    ids = data.draw(st.lists(st.integers(0, classes - 1), min_size=1, max_size=9))
    labels = np.array([ids], kind)
    painter = Painter(dict(classes=[str(i) for i in range(classes)]), 'classes')
    picture = decode(painter.encode(GREY, labels))
    assert picture.mode == ('L' if classes <= 256 else 'I;16')
    assert np.array_equal(np.asarray(picture), labels)


def test_too_many_classes_for_a_palette():
    meta = dict(classes=[str(i) for i in range(300)])
    with pytest.raises(UserError, match='holds 256 classes and the model has 300'):
        Painter(meta, 'palette')
    labels = np.array([[299, 0]], np.uint16)
    assert Painter(meta).overlay(np.zeros((1, 2, 3), np.uint8), labels).shape[0] > 1
