"""Faster testing through the runner and tools/test.py on toy data."""

import json
import shutil

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import init_default_scope
from PIL import Image

from mmseg_pan import cli
from tests.paths import ROOT
from tests.segmentors import build_family, norms

TOY = ROOT / 'configs/pan/pan_r18-d16_toy.py'
OPTIONS = {
    'test_dataloader.num_workers': 0,
    'test_dataloader.persistent_workers': False,
    'model.data_preprocessor.size': [64, 64],
}


@pytest.fixture(scope='module')
def toy_checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp('toy') / 'toy.pth'
    init_default_scope('mmseg')  # this comes before the fixture of each test
    model = build_family('pan_r18-d16_toy')
    torch.save(dict(state_dict=model.state_dict(), meta={}), path)
    return path


@pytest.fixture
def toy_runner(toy_checkpoint, toy_root, tmp_path, monkeypatch):
    monkeypatch.setenv('TOY_ROOT', str(toy_root))

    def make(**flags):
        cfg = cli.load_config(str(TOY), OPTIONS, str(tmp_path / 'runner'))
        cfg.load_from = str(toy_checkpoint)
        cfg.log_level = 'ERROR'
        cfg.experiment_name = f'toy_{len(flags)}'
        if flags:
            cli.set_fast_test(cfg, **flags)
        return cli.build_runner(cfg)

    return make


def test_fast_test_end_to_end(run_tool, toy_runner, toy_checkpoint, tmp_path):
    """The tool with --fast against MMSeg's own loop: the same metrics up to rounding."""
    options = [f'{key}={value}' for key, value in OPTIONS.items()]
    run_tool(
        'test.py', TOY, toy_checkpoint, '--fast', '--work-dir', 'out', '--cfg-options', *options
    )
    (metrics,) = (tmp_path / 'out').glob('*/*.json')
    (config,) = (tmp_path / 'out').glob('*.py')
    assert "fast=True, labels_only=True, type='FastTestHook'" in config.read_text()
    stock = toy_runner().test()
    assert stock['mIoU'] > 0
    found = json.loads(metrics.read_text())
    assert {key: found[key] for key in stock} == pytest.approx(stock, abs=0.01)


def test_the_hook_works_on_a_copy(toy_runner):
    runner = toy_runner(fast=True)
    model, count = runner.model, len(norms(runner.model))
    tested = []
    runner.register_hook(Spy(tested), priority='LOWEST')
    runner.test()
    assert norms(tested[0]) == []
    assert 'seg_logits' not in tested[1]
    assert runner.model is model
    assert len(norms(model)) == count > 0
    assert next(model.backbone.parameters()).is_contiguous()


@pytest.mark.parametrize('flags', [dict(fast=False), dict(fast=True)], ids=str)
def test_batches_of_several_sizes(toy_runner, toy_root, tmp_path, monkeypatch, flags):
    root = shutil.copytree(toy_root, tmp_path / 'sizes')
    for folder in ('JPEGImages', 'SegmentationClass'):
        file = sorted((root / folder).glob('val*'))[0]
        Image.open(file).crop((0, 0, 64, 40)).save(file)
    monkeypatch.setenv('TOY_ROOT', str(root))
    found = []
    for batch in (1, 2):
        monkeypatch.setitem(OPTIONS, 'test_dataloader.batch_size', batch)
        runner = toy_runner(**flags)
        found.append(runner.test())
        assert 'test_step' not in vars(runner.model)
    assert found[0] == pytest.approx(found[1], abs=0.01)


class Spy(Hook):
    def __init__(self, seen):
        self.seen = seen

    def after_test_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.seen += [runner.model, outputs[0]]


def test_default_maps_and_metrics_are_the_same_to_the_last_bit(toy_runner):
    outputs = [], []
    metrics = []
    for seen, flags in zip(outputs, ({}, dict(fast=False)), strict=True):
        runner = toy_runner(**flags)
        runner.register_hook(Spy(seen), priority='LOWEST')
        metrics.append(runner.test())
    assert metrics[0] == metrics[1]
    for one, other in zip(outputs[0][1::2], outputs[1][1::2], strict=True):
        assert torch.equal(one.pred_sem_seg.data, other.pred_sem_seg.data)
        assert 'seg_logits' in one
        assert 'seg_logits' not in other


def test_logits_stay_where_a_metric_may_read_them():
    cfg = Config(dict(test_evaluator=[dict(type='IoUMetric'), dict(type='MyMetric')]))
    cli.set_fast_test(cfg)
    assert [e.type for e in cfg.test_evaluator] == ['FastIoUMetric', 'MyMetric']
    assert cfg.custom_hooks[-1].labels_only is False
