"""Feature Pyramid Attention: figure 3b of the paper (arXiv 1805.10180)."""

from collections.abc import Callable, Sequence

import torch.nn.functional as F
from mmengine.model import BaseModule
from mmseg.models.utils import resize
from torch import Tensor, nn

from mmseg_pan.errors import UserError

from .conv import SafeConvModule, build_conv

POOLING: dict[str, Callable[..., Tensor]] = {'avg': F.avg_pool2d, 'max': F.max_pool2d}


class FeaturePyramidAttention(BaseModule):
    """A U-shaped pyramid makes a pixel-wise attention for a 1x1 branch.

    With ``C_k`` a k x k conv, norm, ReLU, and ``B`` the same without ReLU::

        x_0 = x;           x_i = C_k_i(pool2x2(x_{i-1}))      i = 1 .. levels
        s_last = C_k(x_last);  s_i = C_k_i(x_i) + resize(s_{i+1})
        attention = resize(P(s_1))        P: identity, or B_1x1 to ``channels``
        y = C_1x1(x) * attention + C_1x1(global average pool of x)

    The attention is unbounded: the figure has no sigmoid and no softmax. Pooling rounds
    up, so any map from 1x1 pixels passes, odd sides included.

    Args:
        in_channels: Channels of the input.
        channels: Channels of the output.
        pyramid_channels: Channels inside the pyramid. None: as many as ``channels``, as
            the figure draws it (the paper gives no number).
        kernel_sizes: Kernel of each pyramid level from fine to coarse, one level for
            each. The paper's ablation compares (7, 5, 3) with (3, 3, 3). An empty
            sequence leaves the attention out.
        pooling: 'avg' or 'max', the pyramid's downsampling (the ablation's AVE and MAX).
        global_branch: Whether to add the global average pooling branch (GP).
        separable: Whether the pyramid's convs are depthwise separable.
        conv_cfg: Config of conv layers.
        norm_cfg: Config of norm layers.
        act_cfg: Config of activation layers.
        align_corners: The ``align_corners`` of every bilinear resize.
        init_cfg: Initialisation config.

    Raises:
        UserError: If ``pooling`` is unknown or a kernel size is even.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        pyramid_channels: int | None = None,
        kernel_sizes: Sequence[int] = (7, 5, 3),
        pooling: str = 'avg',
        global_branch: bool = True,
        separable: bool = False,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = dict(type='BN'),  # noqa: B006
        act_cfg: dict | None = dict(type='ReLU'),  # noqa: B006
        align_corners: bool = False,
        init_cfg: dict | None = None,
    ):
        super().__init__(init_cfg)
        if pooling not in POOLING:
            raise UserError(f'pooling must be one of {sorted(POOLING)}, not {pooling!r}.')
        if any(k % 2 == 0 for k in kernel_sizes):
            raise UserError(f'kernel_sizes must be odd, not {tuple(kernel_sizes)}.')
        pyramid_channels = pyramid_channels or channels
        conv = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.pooling = pooling
        self.align_corners = align_corners

        self.main = SafeConvModule(in_channels, channels, 1, **conv)
        widths = [in_channels] + [pyramid_channels] * len(kernel_sizes)
        self.down = nn.ModuleList(
            build_conv(width, pyramid_channels, k, separable, **conv)
            for width, k in zip(widths, kernel_sizes, strict=False)
        )
        self.lateral = nn.ModuleList(
            build_conv(pyramid_channels, pyramid_channels, k, separable, **conv)
            for k in kernel_sizes
        )
        self.project = nn.Identity()
        if kernel_sizes and pyramid_channels != channels:
            self.project = SafeConvModule(
                pyramid_channels, channels, 1, **{**conv, 'act_cfg': None}
            )
        self.global_branch = (
            SafeConvModule(in_channels, channels, 1, **conv) if global_branch else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, channels, H, W)."""
        y = self.main(x)
        if self.down:
            y = y * self.attention(x)
        if self.global_branch is not None:
            y = y + self.global_branch(F.adaptive_avg_pool2d(x, 1))
        return y

    def attention(self, x: Tensor) -> Tensor:
        """Return the unbounded attention map, (N, channels, H, W)."""
        size = x.shape[2:]
        levels = []
        for conv in self.down:
            x = conv(self._pool(x))
            levels.append(x)
        merged = None
        for conv, level in zip(reversed(self.lateral), reversed(levels), strict=True):
            lateral = conv(level)
            if merged is not None:
                lateral = lateral + self._resize(merged, lateral.shape[2:])
            merged = lateral
        return self._resize(self.project(merged), size)

    def _pool(self, x: Tensor) -> Tensor:
        # Exporters write count_include_pad into the graph, and some run times then
        # divide the cells that stick out of an odd map by 4: False says what is meant.
        options = {'count_include_pad': False} if self.pooling == 'avg' else {}
        return POOLING[self.pooling](x, 2, stride=2, ceil_mode=True, **options)

    def _resize(self, x: Tensor, size: Sequence[int]) -> Tensor:
        return resize(x, size, mode='bilinear', align_corners=self.align_corners, warning=False)
