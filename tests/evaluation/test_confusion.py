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
    with pytest.raises(UserError, match=f'{names[0]}.png does not exist .*tools/test.py'):
        confusions(toy, tmp_path)
