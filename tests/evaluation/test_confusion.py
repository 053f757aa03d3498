import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmseg.evaluation.metrics import IoUMetric
from PIL import Image

from mmseg_pan import UserError
from mmseg_pan.datasets.toy import ToyShapesDataset
from mmseg_pan.evaluation.bootstrap import difference
from mmseg_pan.evaluation.confusion import (
    confusion_matrix,
    confusions,
    iou_by_class,
    mean_iou,
)

CLASSES = 4


@given(seed=st.integers(0, 2**31), shape=st.tuples(st.integers(1, 9), st.integers(1, 9)))
def test_iou_is_that_of_the_framework(seed, shape):
    random = np.random.default_rng(seed)
    truth, prediction = random.integers(0, CLASSES, (2, *shape))
    truth[random.random(shape) < 0.2] = 255
    found = confusion_matrix(truth, prediction, CLASSES)
    areas = IoUMetric.intersect_and_union(
        torch.from_numpy(prediction), torch.from_numpy(truth), CLASSES, 255
    )
    intersection, union = (np.asarray(area) for area in areas[:2])
    with np.errstate(invalid='ignore'):
        np.testing.assert_allclose(iou_by_class(found), 100 * intersection / union)
    assert found.sum() == (truth != 255).sum()


def test_rows_are_truth_and_means_may_be_over_some_classes():
    found = confusion_matrix(np.array([[0, 0, 1, 255]]), np.array([[0, 1, 1, 2]]), 3)
    assert found.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]
    assert mean_iou(found, 'abc') == 50
    found = confusion_matrix(np.array([[0, 0, 0, 1]]), np.array([[0, 0, 0, 2]]), 3)
    assert mean_iou(found, 'abc', 'ab') == 50
    assert mean_iou(found, 'abc') == pytest.approx(100 / 3)


@pytest.fixture
def toy(toy_root):
    return ToyShapesDataset(
        ann_file='ImageSets/Segmentation/val.txt',
        data_root=str(toy_root),
        data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
        pipeline=[],
    )


def test_label_maps_of_a_folder(toy, toy_root, tmp_path):
    names = (toy_root / 'ImageSets/Segmentation/val.txt').read_text().split()
    assert len(names) == len(toy) > 1
    for name in names:
        truth = np.array(Image.open(toy_root / f'SegmentationClass/{name}.png'))
        truth[truth == 255] = 0
        cv2.imwrite(str(tmp_path / f'{name}.png'), truth)
    found = confusions(toy, tmp_path)
    assert found.shape == (len(names), 7, 7)
    assert mean_iou(found.sum(0), toy.metainfo['classes']) == 100
    cv2.imwrite(str(tmp_path / f'{names[1]}.png'), np.zeros((3, 5), np.uint8))
    with pytest.raises(UserError, match=rf'{names[1]}.jpg in .* shape \(3, 5\)'):
        confusions(toy, tmp_path)
    (tmp_path / f'{names[0]}.png').unlink()
    with pytest.raises(UserError, match=f'{names[0]}.png is not there .*tools/test.py'):
        confusions(toy, tmp_path)


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
    one = networks(np.random.default_rng(0), 1, 30, 0.7)
    assert difference(one, one) == dict(mean=0, low=0, high=0)


def test_mean_is_the_mean_over_seeds_of_what_a_test_prints():
    random = np.random.default_rng(0)
    first, second = networks(random, 3, 20, 0.8), networks(random, 2, 20, 0.5)
    means = [np.mean([mean_iou(m, 'ab') for m in some.sum(1)]) for some in (first, second)]
    found = difference(first, second)
    assert found['mean'] == pytest.approx(means[0] - means[1])
    assert 0 < found['low'] < found['mean'] < found['high']
    chosen = difference(first, second, chosen=[1])
    assert chosen['mean'] == pytest.approx(
        np.mean([mean_iou(m, 'ab', 'b') for m in first.sum(1)])
        - np.mean([mean_iou(m, 'ab', 'b') for m in second.sum(1)])
    )


def test_the_same_images_are_drawn_for_both():
    """Images of unequal difficulty, of which one network gets a little more: resolved."""
    difficulty = np.linspace(0.1, 0.9, 40)
    first, second = (np.zeros((1, 40, 2, 2), int) for _ in range(2))
    for matrices, more in ((first, 30), (second, 0)):
        good = (1000 * difficulty).astype(int) + more
        matrices[..., 0, 0] = matrices[..., 1, 1] = good
        matrices[..., 0, 1] = matrices[..., 1, 0] = 1000 - good
    found = difference(first, second)
    assert 0 < found['low'] and found['high'] - found['low'] < 1


def test_seeds_that_differ_widen_the_interval():
    random = np.random.default_rng(0)
    same, other = networks(random, 3, 50, 0.6), networks(random, 3, 50, 0.6)
    constant = np.repeat(other[:1], 3, axis=0)
    first, second = difference(same, constant), difference(same[:1], constant)
    assert first['high'] - first['low'] > second['high'] - second['low']
