import copy
import os
import re

import pytest
from mmengine.logging import MMLogger

from mmseg_pan.engine import RunSummaryHook
from tests.engine.linear_runs import ScriptedMetric, linear_cfg, run_linear
from tests.engine.runs import end_workers, small_cfg, train


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


@pytest.mark.parametrize(
    ('workers', 'cores', 'text'),
    [(0, 1, 'in the training process'), (1, 1, '1 process'), (2, 1, '2 processes, but 1 CPU core')],
)
def test_more_loader_processes_than_cores_are_told_once(
    tmp_path, monkeypatch, capsys, workers, cores, text
):
    """Torch warns of them for each loader, twice."""
    monkeypatch.setattr(os, 'sched_getaffinity', lambda _: set(range(cores)))
    cfg = linear_cfg(tmp_path, 2, train_dataloader__num_workers=workers)
    end_workers(run_linear(cfg, hooks=[RunSummaryHook()]))
    assert re.search(rf'^  data loading +{text}$', capsys.readouterr().out, re.M)


def test_learning_rates_that_differ_are_given_as_a_range(tmp_path, capsys):
    """The first group alone is a frozen backbone's in some recipes."""
    cfg = linear_cfg(
        tmp_path, 2, optim_wrapper__paramwise_cfg=dict(custom_keys={'weight': dict(lr_mult=0.0)})
    )
    run_linear(cfg, hooks=[RunSummaryHook()])
    assert re.search(r'^  learning rate +0 to 0\.\d+$', capsys.readouterr().out, re.M)
