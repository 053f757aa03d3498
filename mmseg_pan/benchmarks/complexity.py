"""Multiply-adds and parameters of a segmentor's parts, counted without running it."""

from typing import NamedTuple

import torch
from mmseg.registry import MODELS
from torch import nn
from torch._subclasses import FakeTensorMode


class Cost(NamedTuple):
    """Cost of one module for one image."""

    multiply_adds: int
    parameters: int


def count_cost(model_cfg: dict, height: int, width: int) -> dict[str, Cost]:
    """Count what a segmentor of this config costs for one image.

    Convolutions and matrix products are counted (torch's own counter); norms,
    activations and resizes are not, as everywhere in this field. Nothing is computed:
    image and maps are fake tensors.

    Args:
        model_cfg: Config of an MMSeg segmentor.
        height: Image height in pixels.
        width: Image width in pixels.

    Returns:
        Cost by part: 'backbone', 'neck' (where there is one), 'decode_head' and 'total'
        of inference, which runs no auxiliary head.
    """
    # Built outside the fake mode: transformers compute their drop-path rates with tensors.
    model = MODELS.build(model_cfg)
    parts = {name: getattr(model, name, None) for name in ('backbone', 'neck', 'decode_head')}
    costs = count_parts({k: v for k, v in parts.items() if v is not None}, height, width)
    costs['total'] = Cost(*map(sum, zip(*costs.values(), strict=True)))
    return costs


def count_parts(parts: dict[str, nn.Module], height: int, width: int) -> dict[str, Cost]:
    """Count modules that feed one another, the first of them with an image.

    Args:
        parts: Modules by name, in their order.
        height: Image height in pixels.
        width: Image width in pixels.
    """
    from torch.utils.flop_counter import FlopCounterMode  # imports Triton: not for each tool

    costs = {}
    with torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=True):
        x = torch.empty(1, 3, height, width)
        for name, part in parts.items():
            part.eval()
            counter = FlopCounterMode(display=False)
            with counter:
                x = part(x)
            parameters = sum(p.numel() for p in part.parameters())
            costs[name] = Cost(counter.get_total_flops() // 2, parameters)
    return costs
