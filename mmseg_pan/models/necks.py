"""Necks: FPA and GAU in front of any other MMSeg head, and DeepLabV3's context module."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_pan.errors import UserError

from .conv import SafeConvModule
from .fpa import FeaturePyramidAttention
from .gau import GlobalAttentionUpsample
from .levels import channels_of


def check_levels(name: str, inputs: Sequence[Tensor], in_channels: Sequence[int]) -> None:
    """Check that the feature maps fit the neck.

    Raises:
        UserError: If the maps do not have ``in_channels`` channels.
    """
    found = channels_of(inputs)
    if found is not None and found != list(in_channels):
        raise UserError(
            f'{name} expects in_channels={list(in_channels)}, but the backbone gives {found}; '
            f'set in_channels={found} in the config.'
        )


@MODELS.register_module()
class FPANeck(BaseModule):
    """Feature Pyramid Attention on the deepest level; the others pass through.

    Args:
        in_channels: Channels of every level of the backbone, from shallow to deep.
        channels: Channels of the deepest level afterwards.
        init_cfg: Initialisation config.
        **kwargs: Arguments of ``FeaturePyramidAttention``.
    """

    def __init__(
        self, in_channels: Sequence[int], channels: int, init_cfg: dict | None = None, **kwargs
    ):
        super().__init__(init_cfg)
        self.in_channels = in_channels
        self.fpa = FeaturePyramidAttention(in_channels[-1], channels, **kwargs)

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Map levels (N, C_i, H_i, W_i) to the same, the last one with ``channels``.

        Raises:
            UserError: If the maps do not fit ``in_channels``.
        """
        check_levels('FPANeck', inputs, self.in_channels)
        return (*inputs[:-1], self.fpa(inputs[-1]))


@MODELS.register_module()
class GAUNeck(BaseModule):
    """Top-down fusion with Global Attention Upsample; all levels leave at one width.

    With ``fpa`` this is the whole of PAN but for the classifier: its first output is what
    ``PANHead`` classifies.

    Args:
        in_channels: Channels of every level of the backbone, from shallow to deep.
        channels: Channels of every level afterwards.
        kernel_size: Kernel of GAU's conv on the low-level map.
        context: Whether the gate exists.
        fpa: Arguments of ``FeaturePyramidAttention`` for the deepest level. None: a 1x1
            conv brings it to ``channels``, where it has not that width already.
        separable: Whether GAU's k x k convs are depthwise separable.
        conv_cfg: Config of conv layers.
        norm_cfg: Config of norm layers.
        act_cfg: Config of activation layers.
        align_corners: The ``align_corners`` of every bilinear resize.
        init_cfg: Initialisation config.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int,
        kernel_size: int = 3,
        context: bool = True,
        fpa: dict | None = None,
        separable: bool = False,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = dict(type='BN'),  # noqa: B006
        act_cfg: dict | None = dict(type='ReLU'),  # noqa: B006
        align_corners: bool = False,
        init_cfg: dict | None = None,
    ):
        super().__init__(init_cfg)
        self.in_channels = in_channels
        conv: dict = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.deepest: nn.Module
        if fpa is not None:
            options = {**conv, 'align_corners': align_corners, **fpa}
            self.deepest = FeaturePyramidAttention(in_channels[-1], channels, **options)
        elif in_channels[-1] == channels:
            self.deepest = nn.Identity()
        else:
            self.deepest = SafeConvModule(in_channels[-1], channels, 1, **conv)
        self.gau = nn.ModuleList(
            GlobalAttentionUpsample(
                low_channels,
                channels,
                kernel_size=kernel_size,
                context=context,
                separable=separable,
                align_corners=align_corners,
                **conv,
            )
            for low_channels in reversed(in_channels[:-1])
        )

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Map levels (N, C_i, H_i, W_i) to (N, channels, H_i, W_i), shallow to deep.

        Raises:
            UserError: If the maps do not fit ``in_channels``.
        """
        check_levels('GAUNeck', inputs, self.in_channels)
        outputs = [self.deepest(inputs[-1])]
        for gau, low in zip(self.gau, reversed(inputs[:-1]), strict=True):
            outputs.insert(0, gau(low, outputs[0]))
        return tuple(outputs)


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
