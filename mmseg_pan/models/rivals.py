"""What the paper compares FPA and GAU with: an SE block, and DFN's refinement."""

from mmcv.cnn import build_activation_layer
from mmengine.model import BaseModule
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.utils import SELayer, resize
from mmseg.registry import MODELS
from torch import Tensor

from .conv import SafeConvModule, build_conv


@MODELS.register_module()
class SEHead(BaseDecodeHead):
    """A squeeze-and-excitation block instead of FPA, then the classifier.

    The 1x1 conv of FPA's main branch, and a gate for each channel from the global average of its
    output (Hu et al. 2018, arXiv 1709.01507, figure 2): the paper's row "SE". Where the block
    stands and how wide it is, the paper does not say: behind the conv and of its width is our
    choice.

    Args:
        ratio: Channels over those between the gate's two layers; at least 8 are left.
        **kwargs: Arguments of MMSeg's ``BaseDecodeHead``. ``norm_cfg`` defaults to BN.
    """

    def __init__(self, ratio: int = 16, **kwargs):
        kwargs.setdefault('norm_cfg', dict(type='BN'))
        super().__init__(**kwargs)
        conv = dict(conv_cfg=self.conv_cfg, norm_cfg=self.norm_cfg, act_cfg=self.act_cfg)
        self.main = SafeConvModule(self.in_channels, self.channels, 1, **conv)
        activations = dict(type='ReLU'), dict(type='Sigmoid')
        self.se = SELayer(self.channels, ratio, self.conv_cfg, activations)

    def _forward_feature(self, inputs: list[Tensor]) -> Tensor:
        """Return what comes before the classifier, (N, channels, H, W)."""
        return self.se(self.main(self._transform_inputs(inputs)))

    def forward(self, inputs: list[Tensor]) -> Tensor:
        """Map the backbone's levels to logits, (N, out_channels, H, W) of the chosen level."""
        return self.cls_seg(self._forward_feature(inputs))


class RefinementBlock(BaseModule):
    """DFN's refinement residual block (Yu et al. 2018, arXiv 1804.09337, figure 3).

    With ``C_3`` a 3x3 conv, norm, ReLU::

        x = conv_1x1(x);    y = ReLU(x + conv_3x3(C_3(x)))

    Args:
        in_channels: Channels of the input.
        channels: Channels of the output.
        separable: Whether the 3x3 convs are depthwise separable.
        conv_cfg: Config of conv layers.
        norm_cfg: Config of the norm layer.
        act_cfg: Config of activation layers.
        init_cfg: Initialisation config.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        separable: bool = False,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = dict(type='BN'),  # noqa: B006
        act_cfg: dict = dict(type='ReLU'),  # noqa: B006
        init_cfg: dict | None = None,
    ):
        super().__init__(init_cfg)
        bare = dict(conv_cfg=conv_cfg, norm_cfg=None, act_cfg=None)
        conv = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.unify = SafeConvModule(in_channels, channels, 1, **bare)
        self.first = build_conv(channels, channels, 3, separable, **conv)
        self.second = build_conv(channels, channels, 3, separable, **bare)
        self.activate = build_activation_layer(act_cfg)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, channels, H, W)."""
        x = self.unify(x)
        return self.activate(x + self.second(self.first(x)))


class RefinementUpsample(BaseModule):
    """DFN's refinement instead of GAU: a block before the sum of two levels, and one behind it.

    With ``R`` a :class:`RefinementBlock`: ``y = R(R(low) + resize(high))``, DFN's decoder without
    its channel attention: the paper's row "RRB".

    Args:
        low_channels: Channels of the low-level map.
        channels: Channels of the high-level map and of the output.
        align_corners: The ``align_corners`` of the bilinear resize.
        init_cfg: Initialisation config.
        **kwargs: Arguments of :class:`RefinementBlock`.
    """

    def __init__(
        self,
        low_channels: int,
        channels: int,
        align_corners: bool = False,
        init_cfg: dict | None = None,
        **kwargs,
    ):
        super().__init__(init_cfg)
        self.align_corners = align_corners
        self.before = RefinementBlock(low_channels, channels, **kwargs)
        self.behind = RefinementBlock(channels, channels, **kwargs)

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        """Fuse (N, low_channels, h, w) and (N, channels, h', w') to (N, channels, h, w)."""
        high = resize(
            high,
            low.shape[2:],
            mode='bilinear',
            align_corners=self.align_corners,
            warning=False,
        )
        return self.behind(self.before(low) + high)
