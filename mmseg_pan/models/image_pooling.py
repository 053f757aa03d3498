"""The context module of DeepLabV3 on MobileNetV2, as a neck."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn

from .necks import check_levels


@MODELS.register_module()
class ImagePoolingNeck(BaseModule):
    """Join the deepest level with its global average; the other levels pass through.

    DeepLabV3 on MobileNetV2 (Sandler et al. 2018, arXiv 1801.04381, section 6.3) has no atrous
    branches: a 1x1 conv of each cell and one of the global average are concatenated and
    projected, with a ReLU behind each. The convs have biases and no norm layers, as published
    weights have their norms folded in; the state-dict keys are those of
    ``tools/model_converters/tflite2mmseg.py``.

    Args:
        in_channels: Channels of every level of the backbone, from shallow to deep.
        channels: Channels of both branches, and of the deepest level afterwards.
        init_cfg: Initialisation config.
    """

    def __init__(
        self, in_channels: Sequence[int], channels: int = 256, init_cfg: dict | None = None
    ):
        super().__init__(init_cfg)
        self.in_channels = in_channels
        self.image_pooling = nn.Conv2d(in_channels[-1], channels, 1)
        self.aspp0 = nn.Conv2d(in_channels[-1], channels, 1)
        self.concat_projection = nn.Conv2d(2 * channels, channels, 1)

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Map levels (N, C_i, H_i, W_i) to the same, the last one with ``channels``.

        Raises:
            UserError: If the maps do not fit ``in_channels``.
        """
        check_levels('ImagePoolingNeck', inputs, self.in_channels)
        x = inputs[-1]
        pooled = F.relu(self.image_pooling(F.adaptive_avg_pool2d(x, 1)))
        local = F.relu(self.aspp0(x))
        both = torch.cat([pooled.expand_as(local), local], dim=1)
        return (*inputs[:-1], F.relu(self.concat_projection(both)))
