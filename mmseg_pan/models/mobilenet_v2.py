"""MobileNetV2 with the dilation rates of DeepLab."""

from mmseg.models.backbones import MobileNetV2
from mmseg.models.utils import InvertedResidual
from mmseg.registry import MODELS
from torch import nn


@MODELS.register_module()
class DilatedMobileNetV2(MobileNetV2):
    """``MobileNetV2`` whose stages are dilated in all blocks but the first.

    MMSegmentation's class dilates only the *first* block of a stage. Where a stage loses its
    stride, its first block still sees the dense map of the stage before and keeps that stage's
    rate; the blocks behind it see a map twice as dense as they were trained on and double
    theirs. ``ResNetV1c`` with ``contract_dilation=True`` does the same, and the paper names it
    ("rate 2 from res5b on"). At output stride 16, with ``strides=(1, 2, 2, 2, 1, 1, 1)`` and
    ``dilations=(1, 1, 1, 1, 1, 2, 2)``, the rates are 1, 2, 2 in ``layer6`` and 2 in ``layer7``.

    Arguments and state-dict keys are those of ``MobileNetV2``.
    """

    in_channels: int  # of the next block
    _rate = 1  # of the stage before

    def make_layer(
        self, out_channels: int, num_blocks: int, stride: int, dilation: int, expand_ratio: int
    ) -> nn.Sequential:
        """Stack blocks to a stage; ``stride`` is the first block's, ``dilation`` the others'."""
        blocks = []
        for number in range(num_blocks):
            blocks.append(
                InvertedResidual(
                    self.in_channels,
                    out_channels,
                    stride=1 if number else stride,
                    expand_ratio=expand_ratio,
                    dilation=dilation if number else self._rate,
                    conv_cfg=self.conv_cfg,
                    norm_cfg=self.norm_cfg,
                    act_cfg=self.act_cfg,
                    with_cp=self.with_cp,
                )
            )
            self.in_channels = out_channels
        self._rate = dilation
        return nn.Sequential(*blocks)
