import pytest
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS

from mmseg_pan.models import RefinementUpsample
from tests.models.reference import Reference, randomize
from tests.models.tester import CHANNELS, feature_maps

SE = dict(type='SEHead', in_channels=CHANNELS[-1], in_index=3, channels=32, num_classes=5)


def linear(state, name, x):
    return F.conv2d(x, state[f'{name}.weight'], state[f'{name}.bias'])


@pytest.mark.parametrize('training', [False, True])
def test_se_head_gates_each_channel_of_the_main_branch_by_its_average(training):
    head = randomize(MODELS.build(dict(SE, dropout_ratio=0))).train(training)
    state = {key: value.clone() for key, value in head.state_dict().items()}
    maps = feature_maps(40, 50)
    y = Reference(state, training).conv('main', maps[-1])
    gate = linear(state, 'se.conv1.conv', y.mean((2, 3), keepdim=True)).relu()
    gate = linear(state, 'se.conv2.conv', gate).sigmoid()
    expected = linear(state, 'conv_seg', y * gate)
    torch.testing.assert_close(head(maps), expected, rtol=1e-5, atol=1e-5)


def build(**options):
    return randomize(RefinementUpsample(6, 4, **options))


def refined(state, name, x, training):
    """DFN's figure: a 1x1 conv, and what two 3x3 convs add to it."""
    x = linear(state, f'{name}.unify.conv', x)
    y = Reference(state, training).conv(f'{name}.first', x)
    second = f'{name}.second.conv'
    return (x + F.conv2d(y, state[f'{second}.weight'], state[f'{second}.bias'], padding=1)).relu()


@pytest.mark.parametrize('training', [False, True])
@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize('sizes', [((8, 8), (8, 8)), ((15, 9), (8, 5)), ((1, 1), (1, 1))])
def test_refinement_is_dfns_block_before_and_behind_the_sum(sizes, align_corners, training):
    block = build(align_corners=align_corners).train(training)
    state = {key: value.clone() for key, value in block.state_dict().items()}
    low, high = torch.rand(2, 6, *sizes[0]), torch.rand(2, 4, *sizes[1])
    resized = F.interpolate(high, sizes[0], mode='bilinear', align_corners=align_corners)
    expected = refined(state, 'before', low, training) + resized
    expected = refined(state, 'behind', expected, training)
    torch.testing.assert_close(block(low, high), expected, rtol=1e-5, atol=1e-5)


def test_every_parameter_gets_a_gradient_with_one_image_of_one_pixel():
    se = randomize(MODELS.build(SE)).train()
    pan = dict(type='PANHead', in_channels=CHANNELS, in_index=(0, 1, 2, 3), refinement=True)
    pan = randomize(MODELS.build(dict(pan, channels=6, num_classes=5, separable=True))).train()
    for head in (se, pan):
        head(feature_maps(1, 1, batch=1)).square().sum().backward()
        assert not [name for name, p in head.named_parameters() if p.grad is None]
