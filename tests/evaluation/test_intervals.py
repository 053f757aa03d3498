"""Intervals of differences: what they hold, and how often."""

import numpy as np
import pytest

from mmseg_pan.evaluation.confusion import mean_iou
from mmseg_pan.evaluation.intervals import difference_of_networks, difference_of_recipes
from tests.evaluation.coverage import NINE, SEVEN, recorded, simulate


def networks(random, seeds, images, right):
    """Matrices of networks that get a share of two classes' pixels right, image by image."""
    hits = np.clip(right + 0.05 * random.standard_normal((seeds, 1)), 0, 1)
    share = np.clip(hits + 0.2 * random.standard_normal((1, images)), 0, 1)
    good = (100 * share).astype(int)
    matrices = np.zeros((seeds, images, 2, 2), int)
    matrices[..., 0, 0] = matrices[..., 1, 1] = good
    matrices[..., 0, 1] = matrices[..., 1, 0] = 100 - good
    return matrices


def test_difference_of_a_network_to_itself_is_nothing():
    (one,) = networks(np.random.default_rng(0), 1, 30, 0.7)
    assert difference_of_networks(one, one) == dict(mean=0, low=0, high=0)


def test_mean_is_the_mean_over_seeds_of_what_a_test_prints():
    random = np.random.default_rng(0)
    first, second = networks(random, 3, 20, 0.8), networks(random, 2, 20, 0.5)
    means = [np.mean([mean_iou(m, 'ab') for m in some.sum(1)]) for some in (first, second)]
    found = difference_of_recipes(first, second)
    assert found['mean'] == pytest.approx(means[0] - means[1])
    assert found['low'] < found['mean'] < found['high']
    chosen = difference_of_recipes(first, second, chosen=[1])
    assert chosen['mean'] == pytest.approx(
        np.mean([mean_iou(m, 'ab', 'b') for m in first.sum(1)])
        - np.mean([mean_iou(m, 'ab', 'b') for m in second.sum(1)])
    )


def test_the_same_images_count_for_both():
    """Images of unequal difficulty, of which one network gets a little more: resolved."""
    difficulty = np.linspace(0.1, 0.9, 40)
    first, second = (np.zeros((40, 2, 2), int) for _ in range(2))
    for matrices, more in ((first, 30), (second, 0)):
        good = (1000 * difficulty).astype(int) + more
        matrices[..., 0, 0] = matrices[..., 1, 1] = good
        matrices[..., 0, 1] = matrices[..., 1, 0] = 1000 - good
    found = difference_of_networks(first, second)
    assert 0 < found['low'] and found['high'] - found['low'] < 1


def test_seeds_that_differ_widen_the_interval():
    random = np.random.default_rng(0)
    same, other = networks(random, 3, 50, 0.6), networks(random, 3, 50, 0.6)
    recipes = difference_of_recipes(same, other)
    images = difference_of_networks(same[0], other[0])
    assert recipes['high'] - recipes['low'] > images['high'] - images['low']


@pytest.mark.parametrize('seeds', [(1, 3), (3, 1), (1, 1)])
def test_one_seed_gives_no_interval(seeds):
    random = np.random.default_rng(0)
    found = difference_of_recipes(*(networks(random, count, 20, 0.6) for count in seeds))
    assert found['mean'] != 0
    assert (found['low'], found['high']) == (None, None)


@pytest.mark.parametrize('compare', [difference_of_networks, difference_of_recipes])
def test_one_image_gives_no_interval(compare):
    sides = [networks(np.random.default_rng(seed), 2, 1, 0.6) for seed in (0, 1)]
    if compare is difference_of_networks:
        sides = [side[0] for side in sides]
    found = compare(*sides)
    assert found['mean'] != 0
    assert (found['low'], found['high']) == (None, None)


@pytest.mark.parametrize('images', [50, 400])
@pytest.mark.parametrize('seeds', [2, 3, 5])
@pytest.mark.parametrize('chosen', [NINE, SEVEN, None], ids=['nine', 'seven', 'all'])
def test_intervals_hold_the_truth_as_often_as_they_say(seeds, chosen, images):
    """The small version of docs/statistics.md, where every row lies between 93 and 97 %.

    Two standard deviations of 600 repetitions are 1.8 points.
    """
    sides = recorded('PAN'), recorded('DeepLabV3+')
    held, width = simulate(*sides, seeds, images, repetitions=600, chosen=chosen)
    assert 0.93 - 0.018 <= held <= 0.97 + 0.014
    assert 0 < width < 40


def test_the_percentile_bootstrap_did_not():
    """What the record said until 2026-11-25: seeds resampled as they are, three a side."""
    sides = recorded('PAN'), recorded('DeepLabV3+')
    random = np.random.default_rng(0)
    levels = [np.array([mean_iou(run.sum(0), range(21), NINE) for run in side]) for side in sides]
    spread = [side.std(ddof=1) for side in levels]
    held = 0
    for _ in range(400):
        drawn = [random.normal(0, s, 3) for s in spread]
        picks = [side[random.integers(3, size=(500, 3))].mean(1) for side in drawn]
        low, high = np.percentile(picks[0] - picks[1], [2.5, 97.5])
        held += low <= 0 <= high
    assert held / 400 < 0.88
