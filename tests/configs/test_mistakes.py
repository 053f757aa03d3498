"""Mistakes in settings: each is refused in one sentence before anything is written."""

import copy
import random
import runpy
import sys

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.structures import PixelData
from mmseg.models.decode_heads import FCNHead
from mmseg.registry import DATASETS, MODELS
from mmseg.structures import SegDataSample
from torch import nn

from mmseg_pan import UserError, cli
from mmseg_pan.cli.fitting import check_fitting, pipelines
from mmseg_pan.cli.parts import check_parts
from mmseg_pan.cli.values import check_loading, check_values
from mmseg_pan.models.fpa import FeaturePyramidAttention
from tests.engine.runs import small_cfg
from tests.paths import ROOT, TOY

HEAD = 'model.decode_head'
AUX = "dict(type='FCNHead',in_channels=64,in_index={},channels=16,num_classes=7)"

#: --cfg-options, and what their sentence says.
MISTAKES = {
    'unknown head': ({f'{HEAD}.type': 'PANhead'}, 'mean PANHead'),
    'unknown backbone': ({'model.backbone.type': 'ResNetV1'}, 'not registered .did you mean ResN'),
    'unknown loss': ({f'{HEAD}.loss_decode.type': 'CrossEntropyLos'}, 'mean CrossEntropyLoss'),
    'unknown transform': ({'train_dataloader.dataset.pipeline.0.type': 'LoadImage'}, 'LoadImage'),
    'unknown hook': ({'default_hooks.logger.type': 'LogerHook'}, 'mean LoggerHook'),
    'unknown optimizer': ({'optim_wrapper.optimizer.type': 'adamw'}, 'mean AdamW'),
    'unknown loop': ({'train_cfg.type': 'IterTrainLoop'}, 'not registered'),
    'unknown metric': ({'val_evaluator.type': 'IouMetric'}, 'mean IoUMetric'),
    'library': ({'model.backbone.type': 'nolibrary.Net'}, 'nolibrary is not installed'),
    'loop argument': ({'train_cfg.max_iter': 3}, 'takes no max_iter .did you mean max_iters'),
    'loader argument': ({'train_dataloader.batchsize': 4}, 'mean batch_size'),
    'optimizer argument': ({'optim_wrapper.optimizer.learning_rate': 1}, 'takes no learning_rate'),
    'head argument': ({f'{HEAD}.num_class': 3}, 'mean num_classes'),
    'top level': ({'data_root': 'x'}, 'nothing reads data_root'),
    'max_iters': ({'max_iters': 3}, 'nothing reads max_iters'),
    'batch size': ({'batch_size': 3}, 'nothing reads batch_size'),
    'index too large': ({'train_dataloader.dataset.pipeline.99.type': 'x'}, 'is a list of'),
    'no index': ({'train_dataloader.dataset.pipeline.last.type': 'x'}, 'from 0 to'),
    'entry of a number': ({'train_cfg.max_iters.x': 'x'}, 'has no x; correct the key'),
    'rate': ({'optim_wrapper.optimizer.lr': 'abc'}, "lr is 'abc', .* a number"),
    'negative rate': ({'optim_wrapper.optimizer.lr': -1}, 'lr is -1, .* 0 or more'),
    'no batch': ({'train_dataloader.batch_size': 0}, 'batch_size is 0, .* 1 or more'),
    'negative workers': ({'train_dataloader.num_workers': -1}, 'num_workers is -1'),
    'no iterations': ({'train_cfg.max_iters': 0}, 'max_iters is 0'),
    'class_weight': ({f'{HEAD}.loss_decode.class_weight': [1.0, 2.0]}, 'of 2 numbers'),
    'in_index': ({f'{HEAD}.in_index': [0, 1, 2, 7]}, r'in_index=\[0, 1, 2, 7\], .* 4 levels'),
    'in_channels': ({f'{HEAD}.in_channels': [16, 32]}, '4 levels in in_index and 2 in in_ch'),
    'save_best': ({'default_hooks.checkpoint.save_best': 'mDice'}, 'mDice, which val_evaluator'),
    'iou_metrics': (
        {'default_hooks.checkpoint.save_best': 'mIoU', 'val_evaluator.iou_metrics': ['mDise']},
        'iou_metrics=mDise',
    ),
    'depth': ({'model.backbone.depth': 99}, r'backbone: ResNetV1c .*\(KeyError: invalid depth 99'),
    'strides': ({'model.backbone.strides': [1, 2]}, r'assert len\(strides\) == len\(dilations\)'),
    'frozen_stages': ({'model.backbone.frozen_stages': 9}, "backbone: ResNetV1c .*'layer5'"),
    'dropout': ({f'{HEAD}.dropout_ratio': 2}, 'decode_head: PANHead .* between 0 and 1'),
    'groups': ({f'{HEAD}.norm_cfg': dict(type='GN', num_groups=7)}, 'PANHead .* divisible by'),
    'mean': ({'model.data_preprocessor.mean': [1, 2]}, 'should have 1 or 3 values'),
    'flip': ({'train_dataloader.dataset.pipeline.2.prob': 7}, 'step 2 of the pipeline: RandomFlip'),
    'betas': ({'optim_wrapper.optimizer.betas': [2, 3]}, 'AdamW .* Invalid beta'),
    'no type': ({'optim_wrapper.optimizer.type': None}, 'optim_wrapper.optimizer'),
    'clip_grad': ({'optim_wrapper.clip_grad': 3}, 'optim_wrapper: OptimWrapper .*clip_grad'),
    'norm': ({'optim_wrapper.clip_grad.max_norm': 'a'}, r'clip_grad: clipping .*to float'),
    'reduction': ({f'{HEAD}.loss_decode.reduction': 'avg'}, 'loss_decode: the loss .*avg is not'),
    'align_corners': ({f'{HEAD}.align_corners': 3}, 'the loss does not take .*TypeError'),
    'schedule': ({'param_scheduler.0.end': -4}, 'param_scheduler.0: LinearLR .* end should be'),
    'mode': ({'model.test_cfg.mode': 'slid'}, "mode='slid'; choose from whole, slide"),
    'slide': ({'model.test_cfg': dict(mode='slide', stride=(9, 9))}, 'mode=slide and no crop_size'),
    'interval': ({'default_hooks.checkpoint.interval': 'a'}, "interval is 'a', .* whole number"),
}
CONFIGS = sorted([*(ROOT / 'configs/pan').glob('*.py'), *(ROOT / 'configs/mix').glob('*.py')])


@pytest.mark.parametrize('name', list(MISTAKES))
def test_mistake_is_one_sentence(name):
    options, words = MISTAKES[name]
    with pytest.raises(UserError, match=words) as error:
        cli.check_optimizer(cli.load_config(str(TOY), options))
    assert len(str(error.value)) <= 300 and '\n' not in str(error.value)


@pytest.mark.parametrize('tool', ['train.py', 'test.py'])
@pytest.mark.parametrize('option', ['train_cfg.max_iter=3', 'data_root=x', f'{HEAD}.type=PANhead'])
def test_tools_refuse_and_write_nothing(tool, option, tmp_path, monkeypatch, capsys):
    argv = [tool, str(TOY), *(['x.pth'] if tool == 'test.py' else []), '--work-dir']
    monkeypatch.setattr(sys, 'argv', [*argv, str(tmp_path / 'w'), '--cfg-options', option])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / 'tools' / tool), run_name='__main__')
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith('error: ')
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.name)
def test_shipped_configs_pass_and_need_no_workers(path):
    if 'mmpretrain' in path.read_text() or 'convnext' in path.name or 'timm' in path.name:
        pytest.importorskip('mmpretrain')
    splits = ('train', 'val', 'test')
    cfg = cli.load_config(str(path), {f'{s}_dataloader.num_workers': 0 for s in splits})
    for split in splits:
        assert not (cfg.get(f'{split}_dataloader') or {}).get('persistent_workers')


def test_types_of_others_are_theirs():
    """Albumentations' transforms are in no registry, and heads may weigh a class of their own."""
    cfg = Config.fromfile(TOY)
    albu = dict(type='Albu', transforms=[dict(type='RandomGamma', gamma_limit=3)])
    cfg.train_dataloader.dataset.pipeline.insert(2, albu)
    check_parts(cfg)
    loss = dict(type='CrossEntropyLoss', class_weight=[1.0] * 4)
    cfg.model.decode_head = dict(type='SideAdapterCLIPHead', num_classes=3, loss_decode=[loss])
    check_fitting(cfg)


def test_a_crop_that_batches_are_not_padded_to():
    """Where every image is longer than the crop, or comes alone, the smaller size does nothing."""
    cfg = Config.fromfile(ROOT / 'configs/pan/pan_r101-d16_voc.py')
    check_fitting(cfg)
    cfg.model.data_preprocessor.size = (256, 256)
    with pytest.raises(UserError, match=r'crops images of \(512, 512\), .* the same size'):
        check_fitting(cfg)
    batch, cfg.train_dataloader.batch_size = cfg.train_dataloader.batch_size, 1
    check_fitting(cfg)
    cfg.train_dataloader.batch_size = batch
    for pipeline in pipelines(cfg.train_dataloader.dataset):
        pipeline[2].ratio_range = (1.0, 2.0)
    check_fitting(cfg)


def test_clip_grad_where_it_is_none():
    cfg = cli.load_config(str(TOY), {'optim_wrapper.clip_grad.max_norm': 1.0})
    assert cfg.optim_wrapper.clip_grad == dict(max_norm=1.0)


def test_a_defect_keeps_its_traceback(monkeypatch):
    def defective(cfg):
        raise KeyError('planted')

    monkeypatch.setattr('mmseg_pan.cli.config.check_fitting', defective)
    with pytest.raises(KeyError, match='planted'):
        cli.load_config(str(TOY))


@MODELS.register_module()
class Foreign(nn.Module):
    """A person's own neck, with a fault: torch has no dropout of 2."""

    def __init__(self):
        super().__init__()
        self.dropout = nn.Dropout(2)


def test_a_fault_in_code_is_left_to_the_run(monkeypatch):
    """That shows a traceback, of a fault in this package and of one in a module of others."""
    cfg = Config.fromfile(TOY)
    cfg.model.neck = dict(type='Foreign')
    check_values(cfg)

    def init(self, *args, **kwargs):
        raise KeyError('planted')

    monkeypatch.setattr(FeaturePyramidAttention, '__init__', init)
    check_values(cfg)


LOSSES = sorted(
    name
    for name, kind in MODELS.module_dict.items()
    if kind.__module__.startswith('mmseg.models.losses')
)


@pytest.mark.parametrize('name', LOSSES)
def test_a_loss_is_refused_where_training_would_fail(name):
    cfg = Config.fromfile(TOY)
    cfg.model.decode_head.loss_decode = dict(type=name)
    try:
        check_values(cfg)
        refused = False
    except UserError:
        refused = True
    labels = torch.randint(7, (2, 1, 64, 64))
    samples = [SegDataSample(gt_sem_seg=PixelData(data=label)) for label in labels]
    try:
        MODELS.build(cfg.model.decode_head).loss_by_feat(torch.randn(2, 7, 32, 32), samples)
        fails = False
    except Exception:
        fails = True
    assert refused == fails


def test_most_losses_are_tried():
    assert len(LOSSES) > 7 and 'CrossEntropyLoss' in LOSSES


@MODELS.register_module()
class OneMoreHead(FCNHead):
    """Weighs one more class, which its own loss appends to the logits."""

    def loss(self, inputs, batch_data_samples, train_cfg):
        logits = self.forward(inputs)
        logits = torch.cat([logits, torch.zeros_like(logits[:, :1])], 1)
        return self.loss_by_feat(logits, batch_data_samples)


def test_the_loss_of_a_head_that_computes_its_own_is_left_to_the_run():
    cfg = Config.fromfile(TOY)
    loss = dict(type='CrossEntropyLoss', class_weight=[1.0] * 8)
    cfg.model.decode_head = dict(
        type='OneMoreHead', in_channels=8, channels=8, num_classes=7, loss_decode=loss
    )
    check_values(cfg)
    cfg.model.decode_head.type = 'FCNHead'
    with pytest.raises(UserError, match='the loss does not take'):
        check_values(cfg)


@pytest.mark.parametrize('split', ['train', 'val', 'test'])
@pytest.mark.parametrize(('key', 'value'), [('color_type', 'colour'), ('imdecode_backend', 'x')])
def test_what_a_pipeline_reads_with_its_first_image(split, key, value, toy_root, monkeypatch):
    monkeypatch.setenv('TOY_ROOT', str(toy_root))
    cfg = cli.load_config(str(TOY), {f'{split}_dataloader.dataset.pipeline.0.{key}': value})
    with pytest.raises(UserError, match=f'^{split}_dataloader: the pipeline .*{value}'):
        cli.check_data(cfg, split, first_image=True)
    cli.check_data(cfg, split)


def test_annotations_of_a_data_set_that_has_none(toy_root):
    cfg = small_cfg('.', toy_root)
    del cfg.test_dataloader.dataset.data_prefix['seg_map_path']
    with pytest.raises(UserError, match='test_dataloader loads annotations, and its data set has'):
        cli.check_data(cfg, 'test', first_image=True)


def test_the_first_image_draws_no_random_number(toy_root):
    cfg = small_cfg('.', toy_root)  # with random transforms
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    random.seed(0), np.random.seed(0), torch.manual_seed(0)
    expected = random.random(), np.random.rand(), torch.rand(1)
    random.seed(0), np.random.seed(0), torch.manual_seed(0)
    check_loading('train', dataset)
    assert (random.random(), np.random.rand(), torch.rand(1)) == expected


def test_a_fault_in_the_code_of_a_data_set_is_left_to_the_run():
    class Faulty(list):
        def __getitem__(self, index):
            raise KeyError('planted')

    check_loading('train', Faulty([1]))


def test_nothing_is_changed_and_no_random_number_is_drawn():
    cfg = Config.fromfile(TOY)
    cfg.model.backbone = dict(type='MixVisionTransformer', drop_path_rate=0.1)
    before, state = copy.deepcopy(cfg), torch.random.get_rng_state()
    check_values(cfg)
    assert cfg.to_dict() == before.to_dict() and torch.equal(torch.random.get_rng_state(), state)
    cfg.model.backbone.num_stages = 7
    with pytest.raises(UserError, match='MixVisionTransformer does not take these values'):
        check_values(cfg)
