"""Fold batch norms into the convolutions before them, where that is known to be correct."""

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from mmseg_pan.errors import UserError

#: Largest difference that folding may make, in units of the largest output (or of 1).
TOLERANCE = 1e-4


def fuse_conv_bn(model: nn.Module) -> int:
    """Fold every batch norm that follows a convolution into it, in place.

    mmcv has a function of this name that pairs layers by the order of their definition.
    It drops the activation of timm's ``BatchNormAct2d`` and pairs a convolution with a
    norm that comes before it or after a ReLU, silently. Here the pairs are those
    that a trial image shows: the norm takes the very tensor that the convolution gave.
    Subclasses of convolution and batch norm are left alone, and the outputs before and
    after are compared.

    Args:
        model: An MMSeg segmentor; it is put into evaluation mode.

    Returns:
        How many batch norms went.

    Raises:
        UserError: If the outputs changed; the model cannot be used afterwards.
    """
    model.eval()
    first = next((m for m in model.modules() if isinstance(m, nn.Conv2d)), None)
    if first is None:
        return 0
    generator = torch.Generator().manual_seed(0)  # leaves the random state of the run alone
    image = torch.randn(1, first.in_channels, 65, 97, generator=generator).to(first.weight.device)
    with torch.no_grad():
        pairs, before = _find_pairs(model, image)
        names = {module: name for name, module in model.named_modules()}
        for conv, norm in pairs:
            model.set_submodule(names[conv], fuse_conv_bn_eval(conv, norm))
            model.set_submodule(names[norm], nn.Identity())
        after = model._forward(image)
    difference = (after - before).abs().max().item()
    if not difference <= TOLERANCE * max(1.0, before.abs().max().item()):
        raise UserError(
            f'Folding {len(pairs)} batch norms into convolutions changed the output of '
            f'{type(model).__name__} by {difference:.1e}: it uses a convolution in a way that '
            'a trial image does not show; test without --fast.'
        )
    return len(pairs)


def _find_pairs(model: nn.Module, image: Tensor) -> tuple[list[tuple], Tensor]:
    """Return (convolution, norm) pairs that run once each, and the logits."""
    produced: dict[int, tuple[nn.Module, Tensor]] = {}  # holds tensors, so that ids stay theirs
    calls: dict[nn.Module, int] = {}
    pairs = []

    def record(module: nn.Module, args: tuple, output: Tensor) -> None:
        calls[module] = calls.get(module, 0) + 1
        if type(module) is nn.Conv2d:
            produced[id(output)] = (module, output)
        elif id(args[0]) in produced:
            pairs.append((produced[id(args[0])][0], module))

    wanted = (nn.Conv2d, nn.BatchNorm2d, nn.SyncBatchNorm)
    modules = [m for m in model.modules() if type(m) in wanted and not m._forward_pre_hooks]
    handles = [module.register_forward_hook(record) for module in modules]
    try:
        logits = model._forward(image)
    finally:
        for handle in handles:
            handle.remove()
    takers = [conv for conv, _ in pairs]
    return [
        (conv, norm)
        for conv, norm in pairs
        if calls[conv] == calls[norm] == 1 and takers.count(conv) == 1 and norm.track_running_stats
    ], logits
