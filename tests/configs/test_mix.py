"""Every config of configs/mix: that it is what its name says, segments and trains."""

import sys

import pytest
import torch
from mmengine.config import Config
from mmseg.structures import SegDataSample

from mmseg_pan import UserError
from tests.mixing import MIX, load_mix
from tests.paths import ROOT
from tests.training import train_a_step

# Backbone, neck, decode head and auxiliary head of every config.
PARTS = {
    'deeplabv3plus_r50-d16_fpa-neck': (
        'ResNetV1c',
        'FPANeck',
        'DepthwiseSeparableASPPHead',
        None,
    ),
    'fpn_r50-d16_pan-neck': ('ResNetV1c', 'GAUNeck', 'FPNHead', None),
    'pan_convnext-t': ('mmpretrain.ConvNeXt', None, 'PANHead', None),
    'pan_hrnet-w18': ('HRNet', None, 'PANHead', None),
    'pan_mit-b0': ('MixVisionTransformer', None, 'PANHead', None),
    'pan_mobilenet-v3-d8': ('MobileNetV3', None, 'PANHead', None),
    'pan_r50-d16_dice': ('ResNetV1c', None, 'PANHead', None),
    'pan_r50-d16_fpa-aux': ('ResNetV1c', None, 'PANHead', 'FPAHead'),
    'pan_r50-d16_lovasz': ('ResNetV1c', None, 'PANHead', None),
    'pan_r50-d16_two-class': ('ResNetV1c', None, 'PANHead', None),
    'pan_swin-t': ('SwinTransformer', None, 'PANHead', None),
    'pan_timm-efficientnet-b0': ('mmpretrain.TIMMBackbone', None, 'PANHead', None),
    'segformer_mit-b0_gau-neck': ('MixVisionTransformer', 'GAUNeck', 'SegformerHead', None),
    'uper_r50-d16_gau-neck': ('ResNetV1c', 'GAUNeck', 'UPerHead', None),
}
LOSSES = {
    'pan_r50-d16_dice': {'decode.loss_ce', 'decode.loss_dice'},
    'pan_r50-d16_lovasz': {'decode.loss_ce', 'decode.loss_lovasz'},
    'pan_r50-d16_fpa-aux': {'decode.loss_ce', 'aux.loss_ce'},
}


def test_the_configs_that_the_table_promises_are_there():
    assert len(MIX) == 14
    assert {f'{stem}_voc.py' for stem in PARTS} == set(MIX)
    table = (ROOT / 'configs' / 'mix' / 'README.md').read_text()
    assert {line.split('`')[1] for line in table.splitlines() if '| `' in line} == set(MIX)


def test_none_of_them_inherits_from_an_installed_package():
    for path in MIX.values():
        assert '::' not in path.read_text(), path


def dicts(value):
    """Yield every dict inside a config."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from dicts(item)


@pytest.mark.parametrize('stem', PARTS)
def test_is_what_its_name_says_with_our_data_and_schedule(stem):
    cfg = load_mix(f'{stem}_voc.py')
    found = (cfg.model.get(k) for k in ('backbone', 'neck', 'decode_head', 'auxiliary_head'))
    assert tuple(part and part.type for part in found) == PARTS[stem]
    assert not [d for d in dicts(cfg.model) if {'pretrained', 'init_cfg'} <= set(d)]
    kinds = [dataset.type for dataset in cfg.train_dataloader.dataset.datasets]
    assert kinds == ['VOCAugDataset'] * 2
    assert cfg.train_dataloader.batch_size == 16
    assert cfg.param_scheduler[-1].end == cfg.train_cfg.max_iters == 40000


@pytest.mark.parametrize('stem', PARTS)
def test_segments_an_odd_image_and_trains_a_step(stem):
    cfg = load_mix(f'{stem}_voc.py')
    model, losses = train_a_step(cfg)
    assert {name for name in losses if '.loss' in name} == LOSSES.get(stem, {'decode.loss_ce'})
    size = (33, 47)
    image = torch.randint(256, (3, *size)).byte()
    sample = SegDataSample(metainfo=dict(ori_shape=size, img_shape=size, pad_shape=size))
    (result,) = model.eval().test_step(dict(inputs=[image], data_samples=[sample]))
    assert result.pred_sem_seg.data.shape == (1, *size)
    assert result.seg_logits.data.shape == (model.out_channels, *size)


def test_two_classes_from_the_labels_to_one_logit():
    cfg = load_mix('pan_r50-d16_two-class_voc.py')
    head = cfg.model.decode_head
    assert (head.num_classes, head.out_channels, head.loss_decode.use_sigmoid) == (2, 1, True)
    for dataset in (*cfg.train_dataloader.dataset.datasets, cfg.val_dataloader.dataset):
        assert dataset.metainfo.classes == ('background', 'person')


def test_config_without_mmpretrain_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, 'mmpretrain', None)
    monkeypatch.delitem(sys.modules, 'mmseg_pan.models.mmpretrain', raising=False)
    with pytest.raises(UserError, match=r'from mmpretrain, .*"pip install -r requirements/mmpre'):
        Config.fromfile(MIX['pan_convnext-t_voc.py'])
