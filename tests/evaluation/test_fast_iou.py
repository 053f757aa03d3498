"""The metric counts what MMSeg's counts, to the last bit."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmseg.evaluation import IoUMetric

from mmseg_pan.evaluation import FastIoUMetric, SelectedIoUMetric, fast_iou


@settings(deadline=None, max_examples=150)
@given(
    seed=st.integers(0, 2**31),
    shape=st.tuples(st.integers(0, 40), st.integers(1, 40)),
    num_classes=st.integers(1, 30),
    present=st.integers(1, 30),
    ignore_index=st.sampled_from([255, 0, 3, 300, -1]),
    stray=st.sampled_from([None, 31, 254, 260, -1]),
    kind=st.sampled_from([torch.int64, torch.float32, torch.uint8]),
)
def test_areas_are_those_of_mmseg(seed, shape, num_classes, present, ignore_index, stray, kind):
    """With classes that are absent, pixels that are ignored, and ids that are no class."""
    generator = torch.Generator().manual_seed(seed)
    most = min(present, num_classes)
    predicted, true = torch.randint(most, (2, *shape), generator=generator)
    if kind is not torch.uint8:
        true[torch.rand(shape, generator=generator) < 0.2] = ignore_index
        if stray is not None:
            true[torch.rand(shape, generator=generator) < 0.1] = stray
    arguments = predicted.to(kind), true.to(kind), num_classes, ignore_index
    expected = IoUMetric.intersect_and_union(*arguments)
    found = FastIoUMetric.intersect_and_union(*arguments)
    for one, other in zip(expected, found, strict=True):
        assert one.dtype == other.dtype
        assert one.device == other.device
        assert torch.equal(one, other)


def test_areas_with_one_pass(monkeypatch):
    """The usual case takes the new way, a table too large or strange ids MMSeg's."""

    def histogram(*args, **kwargs):
        raise AssertionError('histc')

    monkeypatch.setattr(torch, 'histc', histogram)
    maps = torch.tensor([[0, 1, 2, 2]]), torch.tensor([[0, 2, 2, 255]])
    areas = FastIoUMetric.intersect_and_union(*maps, 3, 255)
    assert [a.tolist() for a in areas] == [[1, 0, 1], [1, 1, 2], [1, 1, 1], [1, 0, 2]]
    monkeypatch.setattr(fast_iou, 'MOST_CELLS', 700)
    with pytest.raises(AssertionError, match='histc'):
        FastIoUMetric.intersect_and_union(*maps, 3, 255)


@pytest.mark.parametrize('options', [dict(), dict(iou_metrics=['mIoU', 'mDice', 'mFscore'])])
def test_metrics_are_those_of_mmseg_and_memory_holds_areas_only(options):
    classes = [f'class {i}' for i in range(21)]
    metrics = [
        IoUMetric(**options),
        FastIoUMetric(**options),
        SelectedIoUMetric(selected=classes[:3], **options),
    ]
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        predicted, true = torch.randint(20, (2, 33, 47), generator=generator)
        true[:4] = 255
        sample = dict(pred_sem_seg=dict(data=predicted[None]), gt_sem_seg=dict(data=true[None]))
        for metric in metrics:
            metric.dataset_meta = dict(classes=classes)
            metric.process({}, [sample])
    areas = [area for result in metrics[1].results for area in result]
    assert sum(area.untyped_storage().nbytes() for area in areas) == 5 * 4 * 21 * 4
    stock, fast, selected = (metric.evaluate(5) for metric in metrics)
    assert fast == stock
    assert selected.pop('mIoU_selected') > 0
    assert selected == stock


def metrics_of(predicted, true, classes, **options):
    metric = FastIoUMetric(iou_metrics=['mIoU', 'mDice', 'mFscore'], **options)
    metric.dataset_meta = dict(classes=[str(i) for i in range(classes)])
    sample = dict(pred_sem_seg=dict(data=predicted[None]), gt_sem_seg=dict(data=true[None]))
    metric.process({}, [sample])
    areas = [sum(area) for area in zip(*metric.results, strict=True)]
    by_class = metric.total_area_to_metrics(*areas, metrics=metric.metrics, beta=metric.beta)
    return metric.evaluate(1), by_class


def test_a_class_that_is_never_predicted_counts_as_zero():
    """Class 1 is missed, 2 is in neither, and 3 is predicted though it is nowhere."""
    true = torch.tensor([[0, 0, 1, 1]])
    means, found = metrics_of(torch.tensor([[0, 0, 0, 3]]), true, 4)
    nan = float('nan')
    for name, expected in dict(
        Precision=[2 / 3, 0, nan, 0],
        Recall=[1, 0, nan, nan],
        Fscore=[4 / 5, 0, nan, 0],
        Dice=[4 / 5, 0, nan, 0],
        IoU=[2 / 3, 0, nan, 0],
    ).items():
        assert found[name].tolist() == pytest.approx(expected, nan_ok=True), name
        assert found[name].dtype == found['IoU'].dtype
    assert means['mFscore'] == means['mDice'] == pytest.approx(26.67)


@settings(deadline=None)
@given(seed=st.integers(0, 2**31), seen=st.integers(1, 6), there=st.integers(1, 6))
def test_fscore_is_dice_whatever_was_predicted(seed, seen, there):
    generator = torch.Generator().manual_seed(seed)
    predicted = torch.randint(seen, (9, 11), generator=generator)
    true = torch.randint(there, (9, 11), generator=generator)
    means, found = metrics_of(predicted, true, 6)
    assert found['Fscore'].tolist() == pytest.approx(found['Dice'].tolist(), nan_ok=True)
    assert means['mFscore'] == pytest.approx(means['mDice'], abs=0.011)


def test_nan_to_num_is_for_what_is_in_neither():
    means, _ = metrics_of(torch.tensor([[0]]), torch.tensor([[0]]), 2, nan_to_num=1)
    assert means['mFscore'] == means['mPrecision'] == means['mIoU'] == 100


def test_other_weights_of_recall():
    _, found = metrics_of(torch.tensor([[0, 0, 1]]), torch.tensor([[0, 1, 2]]), 4, beta=2)
    # (1 + 4) TP / ((1 + 4) TP + 4 FN + FP)
    expected = [5 / 6, 0, 0, float('nan')]
    assert found['Fscore'].tolist() == pytest.approx(expected, nan_ok=True)
