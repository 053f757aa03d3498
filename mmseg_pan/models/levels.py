"""What a head needs to know about a backbone: channels, order and strides of its levels."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from mmseg.registry import MODELS
from torch._subclasses import FakeTensorMode
from torch.fx import Proxy

from mmseg_pan.errors import UserError


class Levels(NamedTuple):
    """Feature maps of a backbone from shallow to deep, as ``PANHead`` takes them."""

    in_channels: tuple[int, ...]
    in_index: tuple[int, ...]
    strides: tuple[int, ...]


def backbone_levels(backbone: dict, neck: dict | None = None, side: int = 512) -> Levels:
    """Return the levels of a backbone, without computing anything.

    The weights are created, but the image and the feature maps are fake tensors: shapes only.

    Args:
        backbone: Config of any registered backbone.
        neck: Config of a neck behind it.
        side: Side of the square image; strides are taken from it.

    Returns:
        Channels, indices and strides, sorted from fine to coarse. Most backbones give
        their maps in that order already; UNet gives the coarsest first.

    Raises:
        UserError: If what comes out is not a list of feature maps (N, C, H, W).
    """
    # Built outside the fake mode: some backbones compute their drop-path rates with tensors.
    parts = [MODELS.build(cfg) for cfg in (backbone, neck) if cfg]
    with torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=True):
        maps = torch.empty(1, 3, side, side)
        for part in parts:
            part.eval()  # not chained: several backbones return nothing here
            maps = part(maps)
    if not _are_maps(maps):
        raise UserError(
            f'The backbone {backbone["type"]} gives no list of feature maps (N, C, H, W); choose '
            'one that does, or set its out_indices.'
        )
    order = sorted(range(len(maps)), key=lambda i: -maps[i].shape[2])
    return Levels(
        in_channels=tuple(maps[i].shape[1] for i in order),
        in_index=tuple(order),
        strides=tuple(round(side / maps[i].shape[2]) for i in order),
    )


def channels_of(maps: Sequence[torch.Tensor]) -> list[int] | None:
    """Channels of feature maps (N, C, H, W); None while torch.fx traces, which knows no shapes."""
    if any(isinstance(x, Proxy) for x in maps):
        return None
    return [x.shape[1] for x in maps]


def _are_maps(maps: Sequence | torch.Tensor) -> bool:
    return isinstance(maps, (list, tuple)) and all(
        isinstance(x, torch.Tensor) and x.ndim == 4 for x in maps
    )
