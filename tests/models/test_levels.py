import pytest
import torch
from mmengine.model.efficient_conv_bn_eval import turn_on_efficient_conv_bn_eval_for_single_model
from mmseg.registry import MODELS

from mmseg_pan import UserError
from mmseg_pan.models.fpa import FeaturePyramidAttention
from mmseg_pan.models.gau import GlobalAttentionUpsample
from mmseg_pan.models.levels import backbone_levels
from mmseg_pan.models.rivals import RefinementUpsample


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


class OneByOne(torch.nn.Module):
    """Takes its maps as arguments: torch.fx gives a module no list."""

    def __init__(self, part):
        super().__init__()
        self.part = part

    def forward(self, a, b, c, d):
        return self.part([a, b, c, d])


BLOCKS = {
    'FPA': (lambda: FeaturePyramidAttention(8, 6), [(8, 20)]),
    'FPA, separable, max': (
        lambda: FeaturePyramidAttention(8, 6, 4, separable=True, pooling='max'),
        [(8, 21)],
    ),
    'GAU': (lambda: GlobalAttentionUpsample(8, 6), [(8, 20), (6, 10)]),
    'GAU without context': (lambda: GlobalAttentionUpsample(8, 6, context=False), [(8, 9), (6, 5)]),
    'RRB': (lambda: RefinementUpsample(8, 6), [(8, 20), (6, 10)]),
}


@pytest.mark.parametrize('training', [False, True])
@pytest.mark.parametrize('name', BLOCKS)
def test_torch_fx_traces_blocks(name, training):
    make, shapes = BLOCKS[name]
    block = make().train(training)
    maps = [torch.rand(2, channels, side, side) for channels, side in shapes]
    traced = torch.fx.symbolic_trace(block)
    torch.testing.assert_close(traced(*maps), block(*maps))


@pytest.mark.parametrize('name', ['PANHead', 'FPAHead', 'FPANeck', 'GAUNeck', 'ImagePoolingNeck'])
def test_torch_fx_traces_heads_and_necks(name):
    """Mmengine's efficient_conv_bn_eval traces the networks that it speeds up."""
    channels = [8, 9, 10, 11]
    cfg = dict(type=name, in_channels=channels, channels=6)
    if name == 'PANHead':
        cfg.update(in_index=[0, 1, 2, 3], num_classes=5)
    if name == 'FPAHead':
        cfg.update(in_channels=11, in_index=3, num_classes=5)
    module = OneByOne(MODELS.build(cfg)).eval()
    maps = [
        torch.rand(2, c, side, side + 2) for c, side in zip(channels, (32, 16, 8, 8), strict=True)
    ]
    traced = torch.fx.symbolic_trace(module)
    torch.testing.assert_close(traced(*maps), module(*maps))
    assert 'part' in str(traced.graph)


def test_batch_norms_in_evaluation_take_mmengines_faster_form():
    """``efficient_conv_bn_eval`` of a Runner finds convs and norms by tracing with torch.fx."""
    cfg = dict(type='PANHead', in_channels=[8, 9, 10, 11], in_index=[0, 1, 2, 3], channels=6)
    head = MODELS.build(cfg | dict(num_classes=5))
    module = OneByOne(head).eval()
    maps = [torch.rand(2, c, side, side) for c, side in ((8, 32), (9, 16), (10, 8), (11, 8))]
    expected = module(*maps)
    turn_on_efficient_conv_bn_eval_for_single_model(module)
    torch.testing.assert_close(module(*maps), expected)
