"""Channels-last format for a segmentor and its feature maps."""

from collections.abc import Callable
from functools import partial

import torch
from mmseg.models.segmentors.base import BaseSegmentor
from torch import Tensor, nn


def use_channels_last(model: BaseSegmentor) -> None:
    """Keep weights in channels-last format, and give the network its images so, in place.

    Dilated grouped convolutions, as in a dilated MobileNetV2, are trained in float32 under
    autocast to bfloat16 on a CPU. In channels-last format and bfloat16, oneDNN 3.12 (torch 2.13)
    computes their weight gradient from memory that was never written if the map is at least
    29 pixels wide: the network learns from what lay there, until the loss is not finite.
    """
    model.to(memory_format=torch.channels_last)
    model.data_preprocessor.register_forward_hook(_images_channels_last)
    for conv in model.modules():
        if isinstance(conv, nn.Conv2d) and conv.groups > 1 and max(conv.dilation) > 1:
            conv.forward = partial(_train_in_float32, conv.forward)


def _images_channels_last(module: nn.Module, args: tuple, batch: dict) -> dict:
    if isinstance(batch.get('inputs'), Tensor):
        batch['inputs'] = batch['inputs'].contiguous(memory_format=torch.channels_last)
    return batch


def _train_in_float32(convolve: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    if torch.is_grad_enabled() and torch.is_autocast_enabled('cpu') and x.device.type == 'cpu':
        with torch.autocast('cpu', enabled=False):
            return convolve(x.float()).to(torch.get_autocast_dtype('cpu'))
    return convolve(x)
