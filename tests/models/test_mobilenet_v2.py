"""The backbone that dilates all blocks of a stage but the first."""

import pytest
import torch
from mmseg.models.backbones import MobileNetV2, ResNetV1c
from mmseg.registry import MODELS

STRIDE_16 = dict(strides=(1, 2, 2, 2, 1, 1, 1), dilations=(1, 1, 1, 1, 1, 2, 2))
STRIDE_8 = dict(strides=(1, 2, 2, 1, 1, 1, 1), dilations=(1, 1, 1, 2, 2, 4, 4))


def build(**options):
    return MODELS.build(dict(type='DilatedMobileNetV2', **options))


def rates(network):
    """Dilation of the depthwise conv of every block, stage by stage."""
    return [
        [
            next(c for c in block.modules() if getattr(c, 'groups', 1) > 1).dilation[0]
            for block in getattr(network, name)
        ]
        for name in network.layers
    ]


def test_rates_at_output_stride_16():
    assert rates(build(**STRIDE_16))[4:] == [[1, 1, 1], [1, 2, 2], [2]]


def test_rates_at_output_stride_8():
    """The first block of a stage keeps the rate of the stage before."""
    assert rates(build(**STRIDE_8))[3:] == [[1, 2, 2, 2], [2, 2, 2], [2, 4, 4], [4]]


def test_the_rule_is_that_of_resnet_with_contracted_dilation():
    resnet = ResNetV1c(
        depth=50, strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4), contract_dilation=True
    )
    found = [[block.conv2.dilation[0] for block in getattr(resnet, f'layer{i}')] for i in (3, 4)]
    assert [sorted(set(stage)) for stage in found] == [[1, 2], [2, 4]]
    assert [stage[0] for stage in found] == [1, 2]


@pytest.mark.parametrize('options', [{}, STRIDE_16, dict(widen_factor=0.5, **STRIDE_16)])
def test_takes_the_weights_of_mmsegmentations(options):
    stock, ours = MobileNetV2(**options), build(**options)
    ours.load_state_dict(stock.state_dict(), strict=True)
    image = torch.rand(1, 3, 65, 97)
    stock.train(False), ours.train(False)
    with torch.no_grad():
        maps = stock(image), ours(image)
    assert [m.shape for m in maps[0]] == [m.shape for m in maps[1]]
    same = [torch.equal(a, b) for a, b in zip(*maps, strict=True)]
    assert same == [True, True, True, not options], 'only dilated stages differ'
