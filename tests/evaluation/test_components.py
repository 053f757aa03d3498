"""Connected components of the truth, and recall by their size."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from mmseg_pan.evaluation.components import components, objects, recall_by_size

T = True


@given(seed=st.integers(0, 2**31), shape=st.tuples(st.integers(1, 12), st.integers(1, 12)))
def test_components_are_those_of_another_library(seed, shape):
    random = np.random.default_rng(seed)
    truth, prediction = random.integers(0, 3, (2, *shape)).astype(np.uint8)
    truth[random.random(shape) < 0.2] = 255
    expected = []
    for label in range(3):
        ids, count = ndimage.label(truth == label, np.ones((3, 3)))
        for i in range(1, count + 1):
            hits = int(((ids == i) & (prediction == label)).sum())
            expected.append((label, int((ids == i).sum()), hits))
    found = components(truth, prediction)
    assert sorted(map(tuple, found.tolist())) == sorted(expected)
    assert found[:, 1].sum() == (truth != 255).sum()


def test_corners_touch_and_ignored_pixels_divide():
    truth = np.array([[1, 0, 255, 1], [0, 1, 255, 1]])
    found = components(truth, np.ones_like(truth))
    assert sorted(found.tolist()) == [[0, 2, 0], [1, 2, 2], [1, 2, 2]]


def table(*rows):
    return np.array(rows).reshape(-1, 4)


def test_each_component_counts_once_in_the_mean_of_its_size():
    found = recall_by_size(
        table((0, 1, 3, 3), (0, 1, 1, 0), (1, 2, 15, 3), (1, 2, 100, 50)), images=2
    )
    assert [(b.low, b.high, b.count) for b in found] == [
        (1, 4, 2),
        (4, 16, 1),
        (16, 64, 0),
        (64, 256, 1),
    ]
    means = [b.recall[0] for b in found]
    assert means == pytest.approx([50, 20, np.nan, 50], nan_ok=True)
    assert found[1].recall == (20, 20, 20)  # one component: nothing varies
    assert found[0].other is None and found[0].gap is None


def test_nothing_but_background_gives_no_bins():
    background = table((0, 0, 50, 50), (1, 0, 9, 9))
    assert recall_by_size(objects(background, ['Background', 'cat']), images=2) == []
    assert len(objects(background, ['sky', 'cat'])) == 2


def test_a_difference_is_of_the_same_images():
    """Every image is a little easier for one network: the gap is certain, its level is not."""
    images = 40
    hits = np.linspace(5, 90, images).astype(int)
    first, second = (
        table(*((i, 1, 100, hit + more) for i, hit in enumerate(hits))) for more in (5, 0)
    )
    (found,) = recall_by_size(first, images, second)
    assert found.gap == pytest.approx((5, 5, 5))
    mean, low, high = found.recall
    assert low < mean < high and high - low > 5
    assert found.other[0] == pytest.approx(mean - 5)


@given(sizes=st.lists(st.integers(1, 10**6), min_size=1, max_size=20), share=st.floats(0, 1))
def test_every_component_is_in_the_bin_of_its_size(sizes, share):
    rows = table(*((i % 3, 1, size, int(share * size)) for i, size in enumerate(sizes)))
    found = recall_by_size(rows, images=3, draws=20)
    assert sum(b.count for b in found) == len(sizes)
    assert found[0].count and found[-1].count
    for bin, following in zip(found, found[1:] + [None], strict=True):
        assert bin.high == 4 * bin.low and (following is None or bin.high == following.low)
        assert bin.count == sum(bin.low <= size < bin.high for size in sizes)
        assert bin.count == 0 or 0 <= bin.recall[0] <= 100
