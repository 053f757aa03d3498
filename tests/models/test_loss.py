"""The loss that resizes one image at a time is MMSegmentation's, and needs less memory."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.structures import PixelData
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.structures import SegDataSample
from torch.autograd import forward_ad
from torch.nn import functional as F
from torch.nn.modules.module import register_module_forward_hook

from mmseg_pan.models import FPAHead
from mmseg_pan.models.loss import SumByImage, applies_to
from tests.models.tester import samples

PLAIN = dict(type='CrossEntropyLoss', loss_weight=0.7)


def head(loss=PLAIN, classes=5, **options):
    options = dict(in_channels=8, channels=4, num_classes=classes, loss_decode=loss) | options
    return FPAHead(**options)


def both(built, logits, data):
    """Losses and gradients of the stock method and of ours."""
    found = []
    for method in (BaseDecodeHead.loss_by_feat, type(built).loss_by_feat):
        own = logits.clone().requires_grad_()
        losses = method(built, own, data)
        losses['loss_ce'].sum().mul(3).backward()
        found.append((losses, own.grad))
    return found


@settings(deadline=None)
@given(
    sizes=st.tuples(*[st.integers(1, 12)] * 2, *[st.integers(1, 30)] * 2),
    batch=st.integers(1, 3),
    classes=st.integers(2, 7),
    ignored=st.sampled_from([0.0, 0.3, 1.0]),
    non_ignore=st.booleans(),
    align_corners=st.booleans(),
    channels_last=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_loss_gradient_and_accuracy_are_the_stock_ones(
    sizes, batch, classes, ignored, non_ignore, align_corners, channels_last, seed
):
    torch.manual_seed(seed)
    low, full = sizes[:2], sizes[2:]
    logits = 3 * torch.randn(batch, classes, *low)
    if channels_last:
        logits = logits.contiguous(memory_format=torch.channels_last)
    labels = torch.randint(classes, (batch, 1, *full))
    labels[torch.rand(labels.shape) < ignored] = 255
    data = [SegDataSample(gt_sem_seg=PixelData(data=label)) for label in labels]
    built = head(dict(PLAIN, avg_non_ignore=non_ignore), classes, align_corners=align_corners)
    assert applies_to(built, logits)
    (stock, stock_grad), (own, own_grad) = both(built, logits, data)
    assert stock.keys() == own.keys()
    for name, value in stock.items():
        assert own[name].shape == value.shape
        torch.testing.assert_close(own[name], value, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(own_grad, stock_grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    'options',
    [
        dict(loss=dict(PLAIN, class_weight=[1.0, 2.0, 1.0, 3.0, 1.0])),
        dict(loss=[PLAIN, dict(type='DiceLoss', loss_name='loss_dice')]),
        dict(loss=dict(type='LovaszLoss', reduction='none', loss_name='loss_ce')),
        dict(loss=dict(PLAIN, use_sigmoid=True), classes=2, out_channels=1),
        dict(sampler=dict(type='OHEMPixelSampler', thresh=0.7, min_kept=10)),
    ],
    ids=['class weights', 'two losses', 'Lovasz', 'sigmoid', 'hard pixels'],
)
def test_any_other_loss_is_left_to_the_framework(options):
    torch.manual_seed(0)
    built = head(**options)
    logits = torch.randn(2, built.out_channels, 8, 8)
    assert not applies_to(built, logits)
    data = samples(20, 20, num_classes=built.num_classes)
    for sample in data:
        # OpenMMLab's mmseg looks up the class weight of ignored pixels.
        sample.gt_sem_seg.data[sample.gt_sem_seg.data == 255] = 0
    (stock, stock_grad), (own, own_grad) = both(built, logits, data)
    if built.out_channels == 1:  # MMSeg's is the share of background
        assert stock.pop('acc_seg') != own.pop('acc_seg')
    assert {k: v.tolist() for k, v in stock.items()} == {k: v.tolist() for k, v in own.items()}
    assert torch.equal(stock_grad, own_grad)


@pytest.mark.parametrize('ignored', [0.0, 0.3, 1.0])
@pytest.mark.parametrize('align_corners', [False, True])
def test_class_weights_without_ignored_pixels(ignored, align_corners):
    """MMSeg cannot do both; torch's mean is over the weights of the pixels that count."""
    torch.manual_seed(0)
    weights = [1.0, 2.0, 0.5, 3.0, 0.0]
    loss = dict(PLAIN, class_weight=weights, avg_non_ignore=True)
    built = head(loss, align_corners=align_corners)
    logits = (3 * torch.randn(3, 5, 6, 7)).requires_grad_()
    assert applies_to(built, logits)
    labels = torch.randint(5, (3, 1, 20, 24))
    labels[torch.rand(labels.shape) < ignored] = 255
    data = [SegDataSample(gt_sem_seg=PixelData(data=label)) for label in labels]
    found = built.loss_by_feat(logits, data)
    (gradient,) = torch.autograd.grad(found['loss_ce'], logits)
    if ignored == 1.0:
        assert found['loss_ce'] == 0 and not gradient.any()
        return
    full = F.interpolate(logits, (20, 24), mode='bilinear', align_corners=align_corners)
    expected = 0.7 * F.cross_entropy(full, labels[:, 0], torch.tensor(weights), ignore_index=255)
    torch.testing.assert_close(found['loss_ce'], expected)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, logits)[0])
    accuracy = (full.argmax(1) == labels[:, 0])[labels[:, 0] != 255].float().mean() * 100
    torch.testing.assert_close(found['acc_seg'][0], accuracy)


def test_weighted_derivatives_in_float64():
    labels = torch.randint(3, (2, 5, 6))
    labels[0, 0] = 255
    logits = torch.randn(2, 3, 3, 4, dtype=torch.float64, requires_grad=True)
    weight = torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64)

    def total(x):
        return SumByImage.apply(x, labels, 255, False, weight)[0]

    assert torch.autograd.gradcheck(total, (logits,))
    assert torch.autograd.gradgradcheck(total, (logits,))


def test_autocast_compares_in_float32():
    torch.manual_seed(0)
    built, logits = head(), torch.randn(2, 5, 8, 8)
    data = samples(32, 32)
    expected = built.loss_by_feat(logits.bfloat16().float(), data)['loss_ce']
    half = logits.bfloat16().requires_grad_()
    with torch.autocast('cpu', torch.bfloat16):
        found = built.loss_by_feat(half, data)['loss_ce']
    found.backward()
    assert found.dtype is torch.float32 and half.grad.dtype is torch.bfloat16
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize('align_corners', [False, True])
def test_first_and_second_derivatives_in_float64(align_corners):
    labels = torch.randint(3, (2, 5, 6))
    labels[0, 0] = 255
    logits = torch.randn(2, 3, 3, 4, dtype=torch.float64, requires_grad=True)

    def total(x):
        return SumByImage.apply(x, labels, 255, align_corners)[0]

    assert total(logits).dtype == torch.float64
    assert torch.autograd.gradcheck(total, (logits,))
    assert torch.autograd.gradgradcheck(total, (logits,))


def test_a_gradient_penalty_is_stocks():
    torch.manual_seed(0)
    data = samples(20, 24)
    found = []
    for method in (BaseDecodeHead.loss_by_feat, FPAHead.loss_by_feat):
        torch.manual_seed(1)
        built = head()
        x = torch.randn(2, 8, 6, 8, requires_grad=True)
        loss = method(built, built([x]), data)['loss_ce']
        (gradient,) = torch.autograd.grad(loss, x, create_graph=True)
        gradient.square().sum().backward()
        found.append([built.conv_seg.weight.grad, built.fpa.main.conv.weight.grad])
    for ours, stock in zip(*found, strict=True):
        torch.testing.assert_close(ours, stock, rtol=1e-4, atol=1e-9)
        assert stock.abs().max() > 0


HOOKS = [
    lambda loss, hook: loss.register_forward_hook(hook),
    lambda loss, hook: loss.register_forward_pre_hook(hook),
    lambda loss, hook: loss.register_full_backward_hook(hook),
    lambda loss, hook: loss.register_full_backward_pre_hook(hook),
    lambda loss, hook: register_module_forward_hook(hook),
]


@pytest.mark.parametrize('register', HOOKS, ids=range(len(HOOKS)))
def test_hooks_on_the_loss_are_called(register):
    built, called = head(), []
    handle = register(built.loss_decode, lambda module, *_: called.append(module))
    try:
        losses = built.loss_by_feat(torch.randn(2, 5, 8, 8, requires_grad=True), samples(20, 20))
        losses['loss_ce'].backward()
    finally:
        handle.remove()
    assert called == [built.loss_decode]
    built.loss_by_feat(torch.randn(2, 5, 8, 8), samples(20, 20))
    assert len(called) == 1


def test_a_hook_may_change_the_loss():
    built, logits, data = head(), torch.randn(2, 5, 8, 8), samples(20, 20)
    plain = built.loss_by_feat(logits, data)['loss_ce']
    built.loss_decode.register_forward_hook(lambda module, inputs, loss: 2 * loss)
    torch.testing.assert_close(built.loss_by_feat(logits, data)['loss_ce'], 2 * plain)


def test_a_loss_whose_forward_or_criterion_is_replaced_is_left_to_the_framework():
    logits, data = torch.randn(2, 5, 8, 8), samples(20, 20)
    for name in ('forward', 'cls_criterion'):
        built = head()
        setattr(built.loss_decode, name, lambda logits, labels, *_, **__: logits.sum() * 0 + 7)
        assert built.loss_by_feat(logits, data)['loss_ce'] == pytest.approx(
            7 if name == 'forward' else 4.9
        )


def forward_derivative(function, x):
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(x, torch.ones_like(x).cumsum(-1))
        return forward_ad.unpack_dual(function(dual)).tangent


DERIVATIVES = [
    lambda f, x: torch.func.grad(f)(x),
    lambda f, x: torch.func.jvp(f, (x,), (x,))[1],
    lambda f, x: torch.func.hessian(f)(x),
    lambda f, x: torch.func.vmap(f)(torch.stack([x, 2 * x])),
    lambda f, x: torch.autograd.functional.hessian(f, x),
    lambda f, x: torch.autograd.functional.hessian(f, x, vectorize=True),
    forward_derivative,
]


@pytest.mark.parametrize('derivative', DERIVATIVES, ids=range(len(DERIVATIVES)))
def test_derivatives_of_other_kinds_are_the_stock_ones(derivative):
    torch.manual_seed(0)
    built, logits, data = head(), torch.randn(2, 5, 3, 4, dtype=torch.float64), samples(8, 9)
    ours, stock = (
        derivative(lambda x, method=method: method(built, x, data)['loss_ce'], logits)
        for method in (FPAHead.loss_by_feat, BaseDecodeHead.loss_by_feat)
    )
    torch.testing.assert_close(ours, stock)
    assert stock.abs().max() > 0


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_the_loss_has_the_precision_of_the_stock_one(dtype):
    torch.manual_seed(0)
    logits = torch.randn(2, 5, 8, 8).to(dtype)
    (stock, _), (own, own_grad) = both(head(), logits, samples(20, 20))
    assert own['loss_ce'].dtype == stock['loss_ce'].dtype == dtype
    assert own_grad.dtype == dtype
    torch.testing.assert_close(own['loss_ce'], stock['loss_ce'], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf')])
def test_accuracy_of_logits_that_cannot_be_compared(value):
    torch.manual_seed(0)
    logits = torch.randn(2, 5, 8, 8)
    logits[:, 2, :4] = value
    (stock, _), (own, _) = both(head(), logits, samples(20, 20))
    assert own['acc_seg'].item() == pytest.approx(stock['acc_seg'].item(), abs=1e-3)


def test_a_label_that_is_no_class_is_an_error_as_in_stock():
    data = samples(16, 16, num_classes=9)
    data[0].gt_sem_seg.data[0, 5, 5] = 8
    with pytest.raises((IndexError, RuntimeError), match='out of bounds'):
        head().loss_by_feat(torch.randn(2, 5, 8, 8), data)


def test_no_tensor_of_the_whole_batch_at_full_resolution():
    """Counted by what autograd keeps for backward, inside of ours as well."""
    logits = torch.randn(4, 5, 8, 8, requires_grad=True)
    data = samples(64, 64, batch=4)

    def kept(method):
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda tensor: sizes.append(tensor.numel()) or tensor, lambda tensor: tensor
        ):
            method(head(), logits, data)
        return max(sizes)

    assert kept(BaseDecodeHead.loss_by_feat) >= 4 * 5 * 64 * 64
    assert kept(FPAHead.loss_by_feat) <= 5 * 64 * 64


BINARY = dict(loss=dict(PLAIN, use_sigmoid=True), classes=2, out_channels=1)


@settings(deadline=None)
@given(seed=st.integers(0, 2**31), classes=st.integers(2, 80), values=st.integers(1, 4))
def test_ties_are_counted_as_mmseg_counts_them(seed, classes, values):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randint(values, (2, classes, 9, 11), generator=generator).float()
    labels = torch.randint(classes, (2, 1, 9, 11), generator=generator)
    labels[torch.rand(labels.shape, generator=generator) < 0.2] = 255
    data = [SegDataSample(gt_sem_seg=PixelData(data=label)) for label in labels]
    (stock, _), (own, _) = both(head(classes=classes), logits, data)
    assert own['acc_seg'].item() == pytest.approx(stock['acc_seg'].item(), abs=1e-3)


def test_logits_that_are_all_equal_are_not_all_right():
    labels = torch.arange(5).repeat(4)[None, None, :].repeat(1, 8, 1)
    data = [SegDataSample(gt_sem_seg=PixelData(data=labels))]
    found = head().loss_by_feat(torch.zeros(1, 5, 8, 20), data)['acc_seg']
    assert found.item() == pytest.approx(20, abs=1e-3)


def test_logits_are_left_alone():
    logits = torch.zeros(1, 5, 16, 16)
    head().loss_by_feat(logits, samples(16, 16, batch=1))
    assert not logits.any()


@pytest.mark.parametrize('threshold', [0.3, 0.5, 0.9])
def test_accuracy_of_one_logit_is_that_of_its_label_map(threshold):
    logits = 3 * torch.randn(2, 1, 8, 8)
    labels = torch.randint(2, (2, 1, 16, 16))
    labels[:, :, :3] = 255
    data = [SegDataSample(gt_sem_seg=PixelData(data=label)) for label in labels]
    full = torch.nn.functional.interpolate(logits, (16, 16), mode='bilinear')
    counted = labels != 255
    right = ((full.sigmoid() > threshold) == labels)[counted].float().mean()
    found = head(**BINARY, threshold=threshold).loss_by_feat(logits, data)['acc_seg']
    assert found.shape == (1,)
    assert found.item() == pytest.approx(100 * right.item(), abs=1e-3)


@pytest.mark.parametrize('non_ignore', [False, True])
def test_one_logit_with_a_class_weight(non_ignore):
    """It weighs the foreground, as MMSeg hands it to torch as ``pos_weight``."""
    torch.manual_seed(0)
    logits = torch.randn(2, 1, 16, 16, requires_grad=True)
    labels = torch.randint(2, (2, 1, 16, 16))
    labels[:, :, :3] = 255
    data = [SegDataSample(gt_sem_seg=PixelData(data=label)) for label in labels]
    loss = dict(BINARY['loss'], class_weight=[3.0], avg_non_ignore=non_ignore)
    found = head(**dict(BINARY, loss=loss)).loss_by_feat(logits, data)['loss_ce']
    counted = labels != 255
    expected = 0.7 * F.binary_cross_entropy_with_logits(
        logits[counted], labels[counted].float(), pos_weight=torch.tensor([3.0]), reduction='sum'
    )
    expected = expected / (counted.sum() if non_ignore else counted.numel())
    torch.testing.assert_close(found, expected)
    found.backward()
    assert not logits.grad[~counted].any() and logits.grad[counted].all()


@pytest.mark.parametrize('more', [[], [dict(type='DiceLoss', loss_name='loss_dice')]])
def test_one_logit_and_no_pixel_that_counts(more):
    options = dict(BINARY, loss=[BINARY['loss'], *more]) if more else BINARY
    logits = torch.randn(2, 1, 8, 8, requires_grad=True)
    data = [SegDataSample(gt_sem_seg=PixelData(data=torch.full((1, 16, 16), 255)))] * 2
    losses = head(**options).loss_by_feat(logits, data)
    assert len(losses) == 2 + len(more)
    total = sum(value for name, value in losses.items() if name.startswith('loss'))
    total.backward()
    assert total == 0 and not logits.grad.any()
