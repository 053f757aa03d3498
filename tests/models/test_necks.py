import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmseg.registry import MODELS

from mmseg_pan import UserError
from mmseg_pan.models import FPANeck, GAUNeck, ImagePoolingNeck
from tests.models.reference import Reference, randomize
from tests.models.test_heads import PAN
from tests.models.tester import CHANNELS, feature_maps

FPA = dict(type='FPANeck', in_channels=CHANNELS, channels=6)
GAU = dict(type='GAUNeck', in_channels=CHANNELS, channels=6)


def build(cfg, **options):
    return randomize(MODELS.build(dict(cfg, **options))).eval()


def test_fpa_neck_changes_the_deepest_level_alone():
    neck, maps = build(FPA), feature_maps(40, 50)
    outputs = neck(maps)
    assert all(a is b for a, b in zip(outputs[:-1], maps[:-1], strict=True))
    expected = Reference(neck.state_dict()).fpa('fpa.', maps[-1])
    torch.testing.assert_close(outputs[-1], expected, rtol=1e-5, atol=1e-5)


def test_image_pooling_neck_joins_the_deepest_level_with_its_average():
    neck = build(dict(type='ImagePoolingNeck', in_channels=CHANNELS, channels=6))
    maps = feature_maps(40, 50)
    outputs = neck(maps)
    assert all(a is b for a, b in zip(outputs[:-1], maps[:-1], strict=True))
    # Cell by cell with matrices: what is pooled is the same for all cells of an image.
    cells = maps[-1].flatten(2).transpose(1, 2)  # (N, HW, C)
    pooled = linear(neck.image_pooling, cells.mean(1, keepdim=True)).relu()
    both = torch.cat([pooled.expand(-1, cells.shape[1], -1), linear(neck.aspp0, cells).relu()], 2)
    expected = linear(neck.concat_projection, both).relu().transpose(1, 2)
    torch.testing.assert_close(outputs[-1].flatten(2), expected, rtol=1e-5, atol=1e-5)
    assert expected.std() > 0


def linear(conv, cells):
    return cells @ conv.weight[:, :, 0, 0].T + conv.bias


def test_gau_neck_equals_the_equations():
    neck, maps = build(GAU), feature_maps(40, 50)
    reference = Reference(neck.state_dict())
    expected = [reference.conv('deepest', maps[-1])]
    for i, low in enumerate(reversed(maps[:-1])):
        expected.insert(0, reference.gau(f'gau.{i}.', low, expected[0]))
    for output, wanted in zip(neck(maps), expected, strict=True):
        torch.testing.assert_close(output, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('pyramid_channels', [None, 3])
def test_both_necks_are_pan_but_for_the_classifier(pyramid_channels):
    """Once as one neck, once as two in a row."""
    head = PAN.build(pyramid_channels=pyramid_channels).eval()
    state = {k: v for k, v in head.state_dict().items() if not k.startswith('conv_seg')}
    neck = build(GAU, fpa=dict(pyramid_channels=pyramid_channels))
    neck.load_state_dict({k.replace('fpa.', 'deepest.'): v for k, v in state.items()})
    maps = feature_maps(40, 50)
    feature = head._forward_feature(maps)
    assert torch.equal(neck(maps)[0], feature)

    first = build(FPA, pyramid_channels=pyramid_channels)
    first.load_state_dict({k: v for k, v in state.items() if k.startswith('fpa.')})
    second = build(GAU, in_channels=(*CHANNELS[:-1], 6))
    second.load_state_dict({k: v for k, v in state.items() if k.startswith('gau.')})
    assert torch.equal(second(first(maps))[0], feature)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 2), st.booleans())
def test_any_size(height, width, batch, training):
    maps = feature_maps(height, width, batch)
    outputs = build(GAU, fpa={}).train(training)(maps)
    assert [x.shape for x in outputs] == [(batch, 6, *m.shape[2:]) for m in maps]


@pytest.mark.parametrize('cfg', [FPA, GAU, dict(GAU, fpa={})], ids=str)
def test_every_parameter_gets_a_gradient(cfg):
    neck = build(cfg).train()
    sum(x.sum() for x in neck(feature_maps(32, 32, 1))).backward()
    assert not [name for name, p in neck.named_parameters() if p.grad is None]


@pytest.mark.parametrize(
    ('options', 'touched'),
    [
        (dict(context=False), '.gate'),
        (dict(kernel_size=1), '.low'),
        (dict(separable=True), '.low'),
        (dict(fpa={}), 'deepest'),
    ],
    ids=str,
)
def test_an_option_changes_its_part_and_nothing_else(options, touched):
    default = {k: v.shape for k, v in build(GAU).state_dict().items()}
    changed = {k: v.shape for k, v in build(GAU, **options).state_dict().items()}
    different = {k for k in default.keys() | changed.keys() if default.get(k) != changed.get(k)}
    assert different
    assert all(touched in k for k in different)


@pytest.mark.parametrize('align_corners', [False, True])
def test_align_corners_reaches_both_blocks(align_corners):
    neck = build(GAU, fpa={}, align_corners=align_corners)
    reference = Reference(neck.state_dict(), align_corners=align_corners)
    maps = feature_maps(64, 64)
    y = reference.fpa('deepest.', maps[-1])
    for i, low in enumerate(reversed(maps[:-1])):
        y = reference.gau(f'gau.{i}.', low, y)
    torch.testing.assert_close(neck(maps)[0], y, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('neck', [FPANeck, GAUNeck, ImagePoolingNeck])
def test_wrong_in_channels(neck):
    with pytest.raises(
        UserError, match=rf'{neck.__name__} expects in_channels=\[8, 9\], but .* gives \[8, 10\]'
    ):
        neck(in_channels=(8, 9), channels=4)([torch.rand(1, 8, 4, 4), torch.rand(1, 10, 2, 2)])


def test_compiles():
    neck = build(GAU, fpa={})
    maps = feature_maps(64, 64)
    compiled = torch.compile(copy.deepcopy(neck), fullgraph=True, backend='aot_eager')
    for a, b in zip(neck(maps), compiled(maps), strict=True):
        torch.testing.assert_close(a, b)
