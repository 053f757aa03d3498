import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmseg_pan.models import FeaturePyramidAttention
from tests.models.reference import Reference, randomize

VARIANTS = [
    dict(),
    dict(pyramid_channels=2),
    dict(kernel_sizes=(3, 3, 3)),
    dict(kernel_sizes=(5, 3)),
    dict(kernel_sizes=()),
    dict(pooling='max'),
    dict(global_branch=False),
    dict(separable=True),
    dict(align_corners=True),
]


def build(**options):
    return randomize(FeaturePyramidAttention(6, 4, **options)).eval()


@pytest.mark.parametrize('options', VARIANTS, ids=str)
@pytest.mark.parametrize('training', [False, True])
@pytest.mark.parametrize('shape', [(2, 6, 16, 16), (2, 6, 7, 13), (1, 6, 1, 1), (1, 6, 3, 2)])
def test_equals_the_equations(options, training, shape):
    fpa = build(**options)
    reference = Reference(
        {k: v.clone() for k, v in fpa.state_dict().items()},
        training,
        options.get('pooling', 'avg'),
        options.get('align_corners', False),
    )
    x = torch.rand(shape)
    torch.testing.assert_close(fpa.train(training)(x), reference.fpa('', x), rtol=1e-5, atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 2), st.booleans())
def test_any_size(height, width, batch, training):
    fpa = build().train(training)
    assert fpa(torch.rand(batch, 6, height, width)).shape == (batch, 4, height, width)


def test_defaults_are_the_figure():
    shapes = {
        k: tuple(v.shape)
        for k, v in FeaturePyramidAttention(6, 4).state_dict().items()
        if 'conv.weight' in k
    }
    assert shapes == {
        'main.conv.weight': (4, 6, 1, 1),
        'down.0.conv.weight': (4, 6, 7, 7),
        'down.1.conv.weight': (4, 4, 5, 5),
        'down.2.conv.weight': (4, 4, 3, 3),
        'lateral.0.conv.weight': (4, 4, 7, 7),
        'lateral.1.conv.weight': (4, 4, 5, 5),
        'lateral.2.conv.weight': (4, 4, 3, 3),
        'global_branch.conv.weight': (4, 6, 1, 1),
    }


def test_attention_is_unbounded():
    fpa = build()
    for parameter in fpa.lateral.parameters():
        parameter.data.mul_(30)
    assert fpa.attention(torch.rand(1, 6, 16, 16)).max() > 1


def test_projection_ends_without_relu():
    fpa = build(pyramid_channels=2)
    assert fpa.attention(torch.rand(1, 6, 16, 16)).min() < 0


def keys(**options):
    return {k: tuple(v.shape) for k, v in build(**options).state_dict().items()}


@pytest.mark.parametrize(
    ('options', 'touched'),
    [
        (dict(pooling='max'), ()),
        (dict(align_corners=True), ()),
        (dict(global_branch=False), ('global_branch.',)),
        (dict(kernel_sizes=(3, 3, 3)), ('down.', 'lateral.')),
        (dict(separable=True), ('down.', 'lateral.')),
        (dict(pyramid_channels=2), ('down.', 'lateral.', 'project.')),
        (dict(kernel_sizes=()), ('down.', 'lateral.')),
    ],
    ids=str,
)
def test_an_option_changes_its_part_and_nothing_else(options, touched):
    default, changed = keys(), keys(**options)
    different = {k for k in default.keys() | changed.keys() if default.get(k) != changed.get(k)}
    assert all(k.startswith(touched) for k in different)
    assert {part for part in touched if any(k.startswith(part) for k in different)} == {*touched}
    if not touched:  # no weight differs: the output must
        plain, other = build(), build(**options)
        other.load_state_dict(plain.state_dict())
        x = torch.rand(1, 6, 16, 16)
        assert not torch.allclose(plain(x), other(x))


def test_global_branch_is_added_last():
    fpa = build()
    x = torch.rand(2, 6, 8, 8)
    whole, branch = fpa(x), fpa.global_branch(x.mean((2, 3), keepdim=True))
    fpa.global_branch = None
    torch.testing.assert_close(whole, fpa(x) + branch)


def test_unknown_pooling():
    with pytest.raises(ValueError, match=r"pooling must be one of .*'avg', 'max'.* not 'mean'"):
        FeaturePyramidAttention(6, 4, pooling='mean')


def test_even_kernel():
    with pytest.raises(ValueError, match=r'kernel_sizes must be odd, not \(6, 3\)'):
        FeaturePyramidAttention(6, 4, kernel_sizes=(6, 3))
