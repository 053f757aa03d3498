import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmseg.registry import MODELS

from mmseg_pan.models import GlobalAttentionUpsample
from tests.models.reference import Reference, randomize

VARIANTS = [
    dict(),
    dict(kernel_size=1),
    dict(context=False),
    dict(separable=True),
    dict(align_corners=True),
]


def build(**options):
    return randomize(GlobalAttentionUpsample(6, 4, **options)).eval()


@pytest.mark.parametrize('options', VARIANTS, ids=str)
@pytest.mark.parametrize('training', [False, True])
@pytest.mark.parametrize(
    'sizes', [((8, 8), (8, 8)), ((15, 9), (8, 5)), ((1, 1), (1, 1)), ((3, 2), (1, 1))]
)
@pytest.mark.parametrize('batch', [1, 2])
def test_equals_the_equations(options, training, sizes, batch):
    gau = build(**options)
    reference = Reference(
        {k: v.clone() for k, v in gau.state_dict().items()},
        training,
        align_corners=options.get('align_corners', False),
    )
    low, high = torch.rand(batch, 6, *sizes[0]), torch.rand(batch, 4, *sizes[1])
    torch.testing.assert_close(
        gau.train(training)(low, high), reference.gau('', low, high), rtol=1e-5, atol=1e-5
    )


@settings(max_examples=30, deadline=None)
@given(*[st.integers(1, 24)] * 4, st.integers(1, 2), st.booleans())
def test_any_two_sizes(h, w, high_h, high_w, batch, training):
    gau = build().train(training)
    y = gau(torch.rand(batch, 6, h, w), torch.rand(batch, 4, high_h, high_w))
    assert y.shape == (batch, 4, h, w)


def test_gate_is_the_pooled_context_after_relu():
    gau = build()
    low, high = torch.rand(1, 6, 5, 5), torch.rand(1, 4, 5, 5)
    gau.gate.norm.bias.data.fill_(-100)  # ReLU closes the gate: only the high level is left
    torch.testing.assert_close(gau(low, high), high)


def test_high_level_passes_without_conv():
    gau = build(context=False)
    low, high = torch.rand(1, 6, 5, 5), torch.rand(1, 4, 5, 5)
    torch.testing.assert_close(gau(low, high) - gau(low, torch.zeros_like(high)), high)


@pytest.mark.parametrize(
    ('options', 'touched'),
    [
        (dict(kernel_size=1), 'low.'),
        (dict(context=False), 'gate.'),
        (dict(separable=True), 'low.'),
    ],
    ids=str,
)
def test_an_option_changes_its_part_and_nothing_else(options, touched):
    default = {k: v.shape for k, v in build().state_dict().items()}
    changed = {k: v.shape for k, v in build(**options).state_dict().items()}
    different = {k for k in default.keys() | changed.keys() if default.get(k) != changed.get(k)}
    assert different
    assert all(k.startswith(touched) for k in different)


def test_even_kernel():
    with pytest.raises(ValueError, match='kernel_size must be odd, not 2'):
        GlobalAttentionUpsample(6, 4, kernel_size=2)


@pytest.mark.parametrize(('weight', 'bias'), [(1.0, 0.0), (0.0, 1.0), (0.5, 2.0)])
def test_gates_start_as_they_are_told(weight, bias):
    head = MODELS.build(
        dict(
            type='PANHead', in_channels=(4, 6, 8), in_index=(0, 1, 2), channels=4,
            pyramid_channels=4, num_classes=3, gate_weight=weight, gate_bias=bias,
        )
    )  # fmt: skip
    head.init_weights()
    for gau in head.gau:
        assert gau.gate.norm.weight.tolist() == [weight] * 4
        assert gau.gate.norm.bias.tolist() == [bias] * 4
        assert gau.low.norm.bias.tolist() == [0] * 4


def test_gates_of_1_are_no_gates_at_the_start_and_learn():
    gau = GlobalAttentionUpsample(6, 4, gate_weight=0.0, gate_bias=1.0)
    without = GlobalAttentionUpsample(6, 4, context=False)
    without.load_state_dict(gau.state_dict(), strict=False)
    low, high = torch.rand(2, 6, 8, 8), torch.rand(2, 4, 4, 4)
    y = gau(low, high)
    torch.testing.assert_close(y, without(low, high))
    y.square().sum().backward()
    assert (gau.gate.norm.weight.grad != 0).all()


def test_a_start_of_gates_needs_a_norm():
    with pytest.raises(
        ValueError, match='gate_weight and gate_bias need a norm in the gate; set norm_cfg'
    ):
        GlobalAttentionUpsample(6, 4, gate_bias=1.0, norm_cfg=None)
