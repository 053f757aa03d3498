"""What FPA and GAU multiply their features by, for one image."""

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmseg.models.segmentors.base import BaseSegmentor

from mmseg_pan.errors import UserError
from mmseg_pan.models import FeaturePyramidAttention, GlobalAttentionUpsample

from .predictor import Predictor


class Attention(NamedTuple):
    """The factors of one block.

    Attributes:
        name: 'FPA', or 'GAU at 1/8' with the stride of its level.
        factors: FPA's attention map (C, h, w), or GAU's gates (C, 1, 1).
        shown: (h, w): the attention's mean over channels; of GAU, what the gates let through of
            the low-level map, its mean over channels.
    """

    name: str
    factors: np.ndarray
    shown: np.ndarray


def gather_attention(model: BaseSegmentor, image: np.ndarray) -> list[Attention]:
    """Send an image through a network, and keep what its blocks multiply by.

    The image goes through whole, whatever ``test_cfg`` says.

    Args:
        model: As :func:`~mmseg_pan.inference.load_segmentor` gives it.
        image: As the pipeline's loader gives it, ``(H, W, 3)`` uint8, BGR, by default.

    Returns:
        FPA first, then the GAU blocks from deep to shallow; FPA without a pyramid and GAU without
        a gate are left out.

    Raises:
        UserError: If nothing is left.
    """
    prepared = Predictor(model).prepare(image)
    inputs = model.data_preprocessor(pseudo_collate([prepared]), training=False)['inputs']
    side = inputs.shape[2]
    found = []

    def keep_attention(fpa, inputs, _):
        factors = _of_image(fpa.attention(*inputs))
        found.append(Attention('FPA', factors, factors.mean(0)))

    def keep_gates(gau, inputs, _):
        low, high = inputs
        gates = gau.gate(high.mean((2, 3), keepdim=True))
        passed = _of_image(gau.low(low) * gates).mean(0)
        stride = 2 ** round(math.log2(side / low.shape[2]))
        found.append(Attention(f'GAU at 1/{stride}', _of_image(gates), passed))

    with ExitStack() as stack, torch.inference_mode():
        for module in model.modules():
            if isinstance(module, FeaturePyramidAttention) and module.down:
                stack.enter_context(_hooked(module, keep_attention))
            elif isinstance(module, GlobalAttentionUpsample) and module.gate is not None:
                stack.enter_context(_hooked(module, keep_gates))
        model(inputs, mode='tensor')
    if not found:
        raise UserError(
            f'{type(model.decode_head).__name__} has no FPA with a pyramid and no GAU with a gate, '
            'whose factors could be drawn; give a network with PANHead or FPAHead.'
        )
    return found


def summarize(attention: Attention) -> str:
    """Range of the factors, and how many of them are zero or below, in one line."""
    factors = attention.factors
    return (
        f'{attention.name}: {factors.min():.3g} to {factors.max():.3g}, mean {factors.mean():.3g}; '
        f'{(factors == 0).mean():.1%} are zero, {(factors < 0).mean():.1%} below'
    )


@contextmanager
def _hooked(module: torch.nn.Module, hook) -> Iterator[None]:
    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def _of_image(tensor: torch.Tensor) -> np.ndarray:
    """The only image of a batch."""
    return tensor[0].float().cpu().numpy()
