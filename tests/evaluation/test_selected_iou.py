import pytest
import torch

from mmseg_pan import UserError
from mmseg_pan.evaluation import SelectedIoUMetric


def metric(selected):
    found = SelectedIoUMetric(selected=selected, iou_metrics=['mIoU'])
    found.dataset_meta = dict(classes=('sky', 'cat', 'dog'))
    return found


def results():
    """Two images; IoU is 1/2 for sky, 1/4 for cat, 3/4 for dog."""
    # intersection, union, predicted, labelled
    first = [torch.tensor(x) for x in ([1, 1, 0], [2, 2, 2], [1, 1, 1], [2, 2, 1])]
    second = [torch.tensor(x) for x in ([0, 0, 3], [0, 2, 2], [0, 1, 3], [0, 1, 2])]
    return [first, second]


def test_mean_over_the_selected_classes_beside_the_mean_over_all():
    found = metric(['cat', 'dog']).compute_metrics(results())
    assert found['mIoU_selected'] == pytest.approx(50.0)  # (1/4 + 3/4) / 2
    assert found['mIoU'] == pytest.approx(50.0)  # (1/2 + 1/4 + 3/4) / 3
    assert metric(['cat']).compute_metrics(results())['mIoU_selected'] == pytest.approx(25.0)


def test_a_class_that_never_comes_does_not_count():
    empty = [[torch.tensor([1.0, 0, 1])] + [torch.tensor([2.0, 0, 1])] * 3]
    assert metric(['sky', 'cat']).compute_metrics(empty)['mIoU_selected'] == 50.0


def test_unknown_class():
    with pytest.raises(UserError, match=r"selected=\['cow'\], .* choose from \['sky'"):
        metric(['cow']).compute_metrics(results())
