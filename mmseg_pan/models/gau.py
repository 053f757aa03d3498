"""Global Attention Upsample: figure 4 of the paper (arXiv 1805.10180)."""

import torch.nn.functional as F
from mmengine.model import BaseModule, constant_init
from mmseg.models.utils import resize
from torch import Tensor

from mmseg_pan.errors import UserError

from .conv import SafeConvModule, build_conv


class GlobalAttentionUpsample(BaseModule):
    """Pooled high-level features gate the low-level ones; then both are added.

    With ``C_k`` a k x k conv, norm, ReLU::

        y = C_k(low) * C_1x1(global average pool of high) + resize(high)

    The gate ends in ReLU, not in a sigmoid; there is no conv on the high-level path and
    none after the sum (paper, section 3.3).

    Args:
        low_channels: Channels of the low-level map.
        channels: Channels of the high-level map and of the output.
        kernel_size: Kernel of the conv on the low-level map; the ablation has 1 and 3.
        context: Whether the gate exists. Without it, it is 1 (the ablation's row with
            skip connections only).
        gate_weight: What the weight of the gate's norm starts with. The paper says nothing of
            it, nor of the bias.
        gate_bias: What the bias of the gate's norm starts with. By default half of the gates
            are closed at the start; with weight 0 and bias 1 each gate starts as 1 and learns
            from there.
        separable: Whether the k x k conv is depthwise separable.
        conv_cfg: Config of conv layers.
        norm_cfg: Config of norm layers.
        act_cfg: Config of activation layers.
        align_corners: The ``align_corners`` of the bilinear resize.
        init_cfg: Initialisation config.

    Raises:
        UserError: If the kernel size is even, or a gate is to start otherwise and has no norm.
    """

    def __init__(
        self,
        low_channels: int,
        channels: int,
        kernel_size: int = 3,
        context: bool = True,
        gate_weight: float = 1.0,
        gate_bias: float = 0.0,
        separable: bool = False,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = dict(type='BN'),  # noqa: B006
        act_cfg: dict | None = dict(type='ReLU'),  # noqa: B006
        align_corners: bool = False,
        init_cfg: dict | None = None,
    ):
        super().__init__(init_cfg)
        if kernel_size % 2 == 0:
            raise UserError(f'kernel_size must be odd, not {kernel_size}.')
        start = (gate_weight, gate_bias)
        if start != (1, 0) and context and norm_cfg is None:
            raise UserError('gate_weight and gate_bias need a norm in the gate; set norm_cfg.')
        conv = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.align_corners = align_corners
        self.low = build_conv(low_channels, channels, kernel_size, separable, **conv)
        self.gate = SafeConvModule(channels, channels, 1, **conv) if context else None
        self._start = start
        self._start_gate()

    def init_weights(self) -> None:
        """Initialise as ``init_cfg`` says, and the gate's norm as its own options say."""
        super().init_weights()
        self._start_gate()

    def _start_gate(self) -> None:
        if self.gate is not None and self._start != (1, 0):
            weight, bias = self._start
            constant_init(self.gate.norm, weight, bias)

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        """Fuse two levels.

        Args:
            low: Low-level map of shape (N, low_channels, h, w).
            high: High-level map of shape (N, channels, h', w'), any size.

        Returns:
            Map of shape (N, channels, h, w).
        """
        y = self.low(low)
        if self.gate is not None:
            y = y * self.gate(F.adaptive_avg_pool2d(high, 1))
        return y + resize(
            high,
            low.shape[2:],
            mode='bilinear',
            align_corners=self.align_corners,
            warning=False,
        )
