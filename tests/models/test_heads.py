import pytest
import torch
from mmseg.registry import MODELS

from mmseg_pan import UserError
from mmseg_pan.models import FPAHead
from tests.models.reference import Reference, randomize
from tests.models.tester import CHANNELS, HeadTester, feature_maps


class TestFPAHead(HeadTester):
    head_cfg = dict(type='FPAHead', in_channels=16, in_index=3)
    levels = 1


class TestPANHead(HeadTester):
    head_cfg = dict(type='PANHead', in_channels=CHANNELS, in_index=(0, 1, 2, 3))
    levels = 4


PAN = TestPANHead()


@pytest.mark.parametrize('levels', [1, 2, 3, 4, 6])
def test_pan_takes_any_number_of_levels(levels):
    channels = [4 + i for i in range(levels)]
    head = PAN.build(in_channels=channels, in_index=list(range(levels))).eval()
    maps = [torch.rand(2, c, 40 - 5 * i, 33 - 5 * i) for i, c in enumerate(channels)]
    assert len(head.gau) == levels - 1
    torch.testing.assert_close(
        head(maps), Reference(head.state_dict()).head(maps), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize(
    'one', [dict(in_channels=16, in_index=3), dict(in_channels=[16], in_index=[3])]
)
def test_pan_with_one_level_is_fpa_head(one):
    pan = PAN.build(**one).eval()
    fpa = FPAHead(in_channels=16, in_index=3, channels=6, num_classes=5).eval()
    fpa.load_state_dict(pan.state_dict(), strict=True)
    maps = feature_maps(40, 50)
    assert torch.equal(pan(maps), fpa(maps))


def test_levels_may_be_chosen():
    head = PAN.build(in_channels=(10, 16), in_index=(1, 3)).eval()
    maps = feature_maps(64, 64)
    assert head(maps).shape[2:] == maps[1].shape[2:]


OPTIONS = [
    (dict(low_level_kernel_size=1), ('gau.0.low', 'gau.1.low', 'gau.2.low')),
    (dict(context=False), ('gau.0.gate', 'gau.1.gate', 'gau.2.gate')),
    (dict(pyramid_channels=2), ('fpa.down', 'fpa.lateral', 'fpa.project')),
    (dict(kernel_sizes=(3, 3, 3)), ('fpa.down', 'fpa.lateral')),
    (dict(global_branch=False), ('fpa.global_branch',)),
    (
        dict(separable=True),
        ('fpa.down', 'fpa.lateral', 'gau.0.low', 'gau.1.low', 'gau.2.low'),
    ),
]


@pytest.mark.parametrize(('options', 'touched'), OPTIONS, ids=str)
def test_an_option_reaches_its_block_and_no_other(options, touched):
    default = {k: v.shape for k, v in PAN.build().state_dict().items()}
    changed = {k: v.shape for k, v in PAN.build(**options).state_dict().items()}
    different = {k for k in default.keys() | changed.keys() if default.get(k) != changed.get(k)}
    assert all(k.startswith(touched) for k in different)
    assert all(any(k.startswith(part) for k in different) for part in touched)


@pytest.mark.parametrize('options', [dict(pooling='max'), dict(align_corners=True)], ids=str)
def test_an_option_without_weights_changes_the_output(options):
    head, other = PAN.build().eval(), PAN.build(**options).eval()
    other.load_state_dict(head.state_dict())
    maps = feature_maps(64, 64)
    assert not torch.allclose(head(maps), other(maps))


def test_norm_and_activation_reach_every_conv():
    head = PAN.build(norm_cfg=dict(type='GN', num_groups=2), act_cfg=dict(type='GELU'))
    kinds = {type(m).__name__ for m in head.modules()}
    assert {'GroupNorm', 'GELU'} <= kinds
    assert not {'BatchNorm2d', 'ReLU'} & kinds


def test_wrong_in_channels():
    head = PAN.build(in_channels=(8, 10, 12, 99))
    with pytest.raises(
        UserError,
        match=r'PANHead expects in_channels=\(8, 10, 12, 99\) at in_index=\(0, 1, 2, 3\), but '
        r'the backbone gives \[8, 10, 12, 16\]; set in_channels=\[8, 10, 12, 16\] in the config',
    ):
        head(feature_maps(32, 32))


def test_wrong_in_channels_of_one_level():
    head = randomize(FPAHead(in_channels=9, in_index=3, channels=6, num_classes=5))
    with pytest.raises(UserError, match=r'expects in_channels=9 .* set in_channels=16 in'):
        head(feature_maps(32, 32))


def test_wrong_in_index():
    head = PAN.build(in_index=(0, 1, 2, 4))
    with pytest.raises(UserError, match=r'in_index=\(0, 1, 2, 4\).*gives 4 feature maps'):
        head(feature_maps(32, 32))


def test_heads_are_in_the_registry_under_their_names():
    assert MODELS.get('FPAHead') is FPAHead
    assert MODELS.get('PANHead').__module__ == 'mmseg_pan.models.heads'
