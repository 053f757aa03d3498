import pytest
import torch
from mmengine.model import revert_sync_batchnorm
from torch import nn

from mmseg_pan.models.conv import SafeConvModule, build_conv, values_per_channel
from tests.models.reference import randomize

BN = dict(norm_cfg=dict(type='BN'))


def statistics(module):
    return {k: v.clone() for k, v in module.state_dict().items() if 'running' in k or 'num_' in k}


def same(first, second):
    return all(torch.equal(first[k], second[k]) for k in first)


def test_one_value_uses_running_statistics_and_leaves_them():
    conv = randomize(SafeConvModule(3, 4, 1, **BN)).train()
    x = torch.rand(1, 3, 1, 1)
    before = statistics(conv)
    y = conv(x)
    assert torch.equal(y, conv.eval()(x))
    assert same(before, statistics(conv))


def test_one_value_still_gives_every_parameter_a_gradient():
    conv = randomize(SafeConvModule(3, 4, 1, act_cfg=None, **BN)).train()
    conv(torch.rand(1, 3, 1, 1)).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in conv.parameters())


@pytest.mark.parametrize('shape', [(2, 3, 1, 1), (1, 3, 1, 2), (2, 3, 5, 4)])
def test_two_values_or_more_are_exactly_batch_norm(shape):
    conv = randomize(SafeConvModule(3, 4, 1, **BN)).train()
    plain = nn.Sequential(conv.conv, nn.BatchNorm2d(4), nn.ReLU())
    plain[1].load_state_dict(conv.norm.state_dict())
    x = torch.rand(shape)
    before = statistics(conv)
    assert torch.equal(conv(x), plain(x))
    assert torch.equal(conv.norm.running_mean, plain[1].running_mean)
    assert not same(before, statistics(conv))


def test_survives_conversion_to_synchronised_batch_norm():
    conv = nn.SyncBatchNorm.convert_sync_batchnorm(SafeConvModule(3, 4, 1, **BN)).train()
    assert isinstance(conv.norm, nn.SyncBatchNorm)
    x = torch.rand(1, 3, 1, 1)
    assert torch.equal(conv(x), conv.eval()(x))
    assert isinstance(revert_sync_batchnorm(conv), SafeConvModule)


def test_synchronised_batch_norm_counts_the_values_of_all_ranks(monkeypatch):
    monkeypatch.setattr(torch.distributed, 'is_initialized', lambda: True)
    monkeypatch.setattr(torch.distributed, 'get_world_size', lambda group=None: 2)
    x = torch.rand(1, 4, 1, 1)
    assert values_per_channel(x, nn.SyncBatchNorm(4)) == 2
    assert values_per_channel(x, nn.BatchNorm2d(4)) == 1  # its statistics are its own rank's


@pytest.mark.parametrize('norm', [None, dict(type='GN', num_groups=2)])
def test_other_norms_are_left_alone(norm):
    conv = SafeConvModule(3, 4, 3, norm_cfg=norm).train()
    assert conv(torch.rand(1, 3, 1, 1)).shape == (1, 4, 1, 1)


def test_separable_is_depthwise_then_pointwise():
    conv = build_conv(6, 4, 5, separable=True, **BN)
    assert [m.conv.weight.shape for m in conv] == [(6, 1, 5, 5), (4, 6, 1, 1)]
    assert isinstance(build_conv(6, 4, 1, separable=True, **BN), SafeConvModule)


@pytest.mark.parametrize('side', [1, 2, 3, 4])
def test_bfloat16_on_a_map_smaller_than_the_kernel(side):
    """Taps that no pixel reaches have no gradient, whatever lay in the memory before."""
    conv = SafeConvModule(128, 16, 7, norm_cfg=None, act_cfg=None)
    x = torch.rand(2, 128, side, side)
    gradients = []
    for bfloat16 in (False, True):
        conv.zero_grad()
        rubbish = [torch.full((257, 1023), 3e38) for _ in range(8)]
        del rubbish
        with torch.autocast('cpu', torch.bfloat16, enabled=bfloat16):
            y = conv(x)
        y.float().square().sum().backward()
        gradients.append(conv.conv.weight.grad.clone())
    plain, found = gradients
    assert (found - plain).abs().max() < 0.02 * plain.abs().max()
    assert torch.equal(found == 0, plain == 0)
