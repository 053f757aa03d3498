"""Cross entropy at full resolution, one image at a time."""

import torch
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.losses import CrossEntropyLoss, cross_entropy
from mmseg.models.utils import resize
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn import functional as F
from torch.nn.modules import module as torch_module


class SumByImage(torch.autograd.Function):
    """Sum of the cross entropy of resized logits, and how many pixels are right.

    Each image's logits are resized, compared and differentiated before the next one's, so
    that full resolution is there for one image instead of four times for the batch (logits,
    log-probabilities and a gradient of each). On a CPU one image also fits into the cache.
    A gradient that is itself differentiated (a gradient penalty) is computed in the usual way.
    """

    @staticmethod
    def forward(
        ctx,
        logits: Tensor,
        labels: Tensor,
        ignore_index: int,
        align_corners: bool,
        weight: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Compare (N, C, h, w) with (N, H, W); returns two scalars."""
        differentiate = ctx.needs_input_grad[0]
        precise = torch.promote_types(logits.dtype, torch.float32)
        total = logits.new_zeros((), dtype=precise)
        correct = logits.new_zeros((), dtype=torch.long)
        gradients = []
        for image, label in zip(logits.split(1), labels.split(1), strict=True):
            # In the usual memory format: softmax over channels-last would copy it back.
            image = image.detach().to(precise).contiguous().requires_grad_(differentiate)
            with torch.set_grad_enabled(differentiate):
                full, loss = _resized_cross_entropy(
                    image, label, ignore_index, align_corners, weight
                )
            if differentiate:
                gradients += torch.autograd.grad(loss, image)
            total += loss.detach()
            correct += count_right(full.detach(), label, ignore_index)
        if differentiate:
            ctx.save_for_backward(torch.cat(gradients), logits, labels)
            ctx.rules = ignore_index, align_corners, weight
        ctx.mark_non_differentiable(correct)
        return total, correct

    @staticmethod
    def backward(ctx, gradient: Tensor, _: Tensor) -> tuple:
        """Scale the gradient that forward computed."""
        computed, logits, labels = ctx.saved_tensors
        if torch.is_grad_enabled():  # somebody differentiates the gradient
            wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
            _, total = _resized_cross_entropy(wide, labels, *ctx.rules)
            (found,) = torch.autograd.grad(total, logits, gradient, create_graph=True)
            return found, None, None, None, None
        return (computed * gradient).to(logits.dtype), None, None, None, None


def _resized_cross_entropy(
    logits: Tensor, labels: Tensor, ignore_index: int, align_corners: bool, weight: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Resized logits, and the sum of their cross entropy."""
    full = resize(
        logits, labels.shape[1:], mode='bilinear', align_corners=align_corners, warning=False
    )
    loss = F.cross_entropy(full, labels, weight, reduction='sum', ignore_index=ignore_index)
    return full, loss


def count_right(logits: Tensor, labels: Tensor, ignore_index: int) -> Tensor:
    """Count the pixels whose label is the class that the logits name.

    Of equal logits only one is named, on a CPU the one that MMSeg's accuracy takes.

    Args:
        logits: (1, C, H, W); not needed any more, on a CPU they are overwritten.
        labels: Class ids, (1, H, W).
        ignore_index: The label that does not count.

    Returns:
        One number, int64.
    """
    counted = labels != ignore_index
    labels = labels.where(counted, 0)
    if logits.device.type != 'cpu':
        return ((logits.max(dim=1).indices == labels) & counted).sum()
    # On a CPU amax takes a twentieth of the time of max with its indices. So the labels' logits
    # are compared with the largest of the others, and only ties are looked up.
    own = logits.gather(1, labels[:, None])
    others = logits.scatter_(1, labels[:, None], -torch.inf).amax(dim=1)
    more = own[:, 0] > others
    # Ties, and what cannot be compared: NaN.
    unsure = ~(more | (own[:, 0] < others)) & counted
    right = (more & counted).sum()
    if unsure.any():
        logits.scatter_(1, labels[:, None], own)
        named = logits.movedim(1, -1)[unsure].topk(1).indices[:, 0]
        right = right + (named == labels[unsure]).sum()
    return right


def binary_accuracy(head: BaseDecodeHead, logits: Tensor, labels: Tensor) -> Tensor:
    """Pixel accuracy of a head with one logit, decided by its threshold as in its label maps.

    Args:
        head: The head.
        logits: (N, 1, h, w), at the head's resolution.
        labels: 0 and 1, (N, H, W).

    Returns:
        Per cent of the pixels that count, (1,).
    """
    full = resize(
        logits.detach().float(),
        labels.shape[1:],
        mode='bilinear',
        align_corners=head.align_corners,
        warning=False,
    )
    counted = labels != head.ignore_index
    right = ((full[:, 0].sigmoid() > head.threshold) == (labels == 1)) & counted
    epsilon = torch.finfo(torch.float32).eps
    return (100 * (right.sum() + epsilon) / (counted.sum() + epsilon))[None]


def applies_to(head: BaseDecodeHead, logits: Tensor) -> bool:
    """Whether :func:`cross_entropy_by_image` gives what MMSeg's ``loss_by_feat`` would give.

    That is where the head's loss is one plain cross entropy over classes, averaged over pixels,
    nobody watches it, and its derivatives are asked for by backward alone.

    Args:
        head: The head.
        logits: (N, C, h, w).
    """
    loss = head.loss_decode
    return (
        type(loss) is CrossEntropyLoss
        and loss.cls_criterion is cross_entropy
        # MMSeg's own cannot do both.
        and (loss.class_weight is None or loss.avg_non_ignore)
        and loss.reduction == 'mean'
        and head.sampler is None
        and not _is_watched(loss)
        # Of half precision without autocast, MMSeg's loss has half precision.
        and (
            logits.dtype in (torch.float32, torch.float64)
            or torch.is_autocast_enabled(logits.device.type)
        )
        and not torch._C._are_functorch_transforms_active()
        and forward_ad.unpack_dual(logits).tangent is None
    )


def _is_watched(module: nn.Module) -> bool:
    """Whether a module has hooks, as torch's ``Module.__call__`` asks, or a forward of its own."""
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        or torch_module._has_any_global_hook()
        or 'forward' in vars(module)
    )


def cross_entropy_by_image(head: BaseDecodeHead, logits: Tensor, labels: Tensor) -> dict:
    """Do what ``BaseDecodeHead.loss_by_feat`` does where :func:`applies_to` holds.

    Equal up to rounding: sums are computed image by image.

    Args:
        head: The head.
        logits: (N, C, h, w), at the head's resolution.
        labels: Class ids, (N, H, W).

    Returns:
        The loss by its name, and the pixel accuracy in percent as 'acc_seg'.
    """
    loss = head.loss_decode
    weight = loss.class_weight
    if weight is not None:
        weight = torch.tensor(weight, device=logits.device)
        weight = weight.to(torch.promote_types(logits.dtype, torch.float32))
    total, correct = SumByImage.apply(logits, labels, head.ignore_index, head.align_corners, weight)
    counts = labels != head.ignore_index
    counted = counts.sum()
    pixels = counted if loss.avg_non_ignore else labels.numel()
    if weight is not None:
        pixels = weight[labels[counts]].sum()
    epsilon = torch.finfo(torch.float32).eps  # as in MMSeg: no pixel counts, no division by zero
    return {
        loss.loss_name: loss.loss_weight * total / (pixels + epsilon),
        'acc_seg': (100 * (correct + epsilon) / (counted + epsilon))[None],
    }
