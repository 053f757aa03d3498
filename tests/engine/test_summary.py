import copy

import pytest
from mmengine.logging import MMLogger

from mmseg_pan.engine import RunSummaryHook
from tests.engine.linear_runs import ScriptedMetric, linear_cfg, run_linear
from tests.engine.runs import small_cfg, train


@pytest.fixture
def warnings(monkeypatch):
    told = []
    monkeypatch.setattr(MMLogger, 'warning', lambda self, text, *args: told.append(str(text)))
    return told


@pytest.mark.parametrize('wrapper', [None, 'RepeatDataset', 'ConcatDataset'])
@pytest.mark.parametrize('shared', [True, False])
def test_images_in_train_and_val_are_told_when_a_training_starts(
    tmp_path, toy_root, warnings, wrapper, shared
):
    cfg = small_cfg(tmp_path, toy_root)
    if shared:
        cfg.val_dataloader.dataset = copy.deepcopy(cfg.train_dataloader.dataset)
    dataset = cfg.train_dataloader.dataset
    if wrapper == 'RepeatDataset':
        cfg.train_dataloader.dataset = dict(type=wrapper, dataset=dataset, times=2)
    elif wrapper == 'ConcatDataset':
        cfg.train_dataloader.dataset = dict(type=wrapper, datasets=[dataset])
    train(cfg, hooks=[RunSummaryHook()], stop_after=1)
    found = [text for text in warnings if 'in train and val' in text]
    assert len(found) == shared
    assert not shared or 'train_00000.jpg and ' in found[0]


def test_data_sets_without_paths_are_trained_on(tmp_path):
    ScriptedMetric.scores = {2: 1.0}
    assert run_linear(linear_cfg(tmp_path, 2, validate=2), hooks=[RunSummaryHook()]).iter == 2
