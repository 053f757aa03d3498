import pytest
import torch
from mmseg.registry import MODELS

from mmseg_pan import UserError
from mmseg_pan.models.levels import backbone_levels


@pytest.mark.parametrize(
    ('backbone', 'expected'),
    [
        (
            dict(type='ResNetV1c', depth=18, strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2)),
            ((64, 128, 256, 512), (0, 1, 2, 3), (4, 8, 16, 16)),
        ),
        # Drop-path rates out of tensors, and a transformer.
        (
            dict(type='MixVisionTransformer', embed_dims=8, drop_path_rate=0.1),
            ((8, 16, 32, 64), (0, 1, 2, 3), (4, 8, 16, 32)),
        ),
        # The coarsest first.
        (
            dict(type='UNet', base_channels=4),
            ((4, 8, 16, 32, 64), (4, 3, 2, 1, 0), (1, 2, 4, 8, 16)),
        ),
    ],
    ids=['ResNet', 'MiT', 'UNet'],
)
def test_levels_are_what_a_head_needs(backbone, expected):
    levels = backbone_levels(backbone)
    assert levels == expected
    maps = MODELS.build(backbone)(torch.rand(2, 3, 64, 64))
    head = MODELS.build(
        dict(
            type='PANHead',
            in_channels=levels.in_channels,
            in_index=levels.in_index,
            channels=4,
            num_classes=3,
        )
    )
    assert head.eval()(maps).shape[2] == 64 // levels.strides[0]


def test_levels_behind_a_neck():
    neck = dict(type='GAUNeck', in_channels=(64, 128, 256, 512), channels=5)
    levels = backbone_levels(dict(type='ResNet', depth=18), neck)
    assert levels.in_channels == (5, 5, 5, 5)
    assert levels.strides == (4, 8, 16, 32)


def test_backbone_without_levels():
    ddrnet = dict(type='DDRNet', channels=8, ppm_channels=8)
    with pytest.raises(UserError, match='backbone DDRNet gives no list of feature maps'):
        backbone_levels(ddrnet)
