"""FPAHead and PANHead: figure 2 of the paper (arXiv 1805.10180)."""

from collections.abc import Sequence

from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from mmseg_pan.errors import UserError

from .fpa import FeaturePyramidAttention
from .gau import GlobalAttentionUpsample
from .levels import channels_of
from .loss import applies_to, binary_accuracy, cross_entropy_by_image
from .rivals import RefinementUpsample


@MODELS.register_module()
class FPAHead(BaseDecodeHead):
    """Feature Pyramid Attention on one level, then the classifier.

    Args:
        pyramid_channels: Channels inside the pyramid; None: as many as ``channels``.
        kernel_sizes: Kernel of each pyramid level, fine to coarse.
        pooling: 'avg' or 'max', the pyramid's downsampling.
        global_branch: Whether FPA adds its global average pooling branch.
        separable: Whether the k x k convs are depthwise separable.
        **kwargs: Arguments of MMSeg's ``BaseDecodeHead``. ``norm_cfg`` defaults to BN.
    """

    def __init__(
        self,
        pyramid_channels: int | None = None,
        kernel_sizes: Sequence[int] = (7, 5, 3),
        pooling: str = 'avg',
        global_branch: bool = True,
        separable: bool = False,
        **kwargs,
    ):
        kwargs.setdefault('norm_cfg', dict(type='BN'))
        super().__init__(**kwargs)
        self.separable = separable
        self.fpa = FeaturePyramidAttention(
            self._level_channels[-1],
            self.channels,
            pyramid_channels=pyramid_channels,
            kernel_sizes=kernel_sizes,
            pooling=pooling,
            global_branch=global_branch,
            **self._block_cfg,
        )

    @property
    def _level_channels(self) -> list[int]:
        """Channels of the chosen levels, from shallow to deep."""
        single = isinstance(self.in_channels, int)
        return [self.in_channels] if single else list(self.in_channels)

    @property
    def _block_cfg(self) -> dict:
        """What every block of this head shares."""
        return dict(
            separable=self.separable,
            conv_cfg=self.conv_cfg,
            norm_cfg=self.norm_cfg,
            act_cfg=self.act_cfg,
            align_corners=self.align_corners,
        )

    def _select_levels(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Pick the levels that ``in_index`` names and check their channels."""
        try:
            levels = self._transform_inputs(inputs)
        except IndexError:
            raise UserError(
                f'{type(self).__name__} has in_index={self.in_index}, but the backbone '
                f'gives {len(inputs)} feature maps; set in_index to levels from 0 to '
                f'{len(inputs) - 1} or change the out_indices of the backbone.'
            ) from None
        if not isinstance(levels, (list, tuple)):
            levels = [levels]
        found = channels_of(levels)
        if found is not None and found != self._level_channels:
            raise UserError(
                f'{type(self).__name__} expects in_channels={self.in_channels} at '
                f'in_index={self.in_index}, but the backbone gives {found}; set '
                f'in_channels={found if len(found) > 1 else found[0]} in the config.'
            )
        return levels

    def _forward_feature(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return what comes before the classifier, (N, channels, H, W)."""
        return self.fpa(self._select_levels(inputs)[-1])

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Classify every pixel of the finest chosen level.

        Args:
            inputs: Feature maps of the backbone, each (N, C_i, H_i, W_i).

        Returns:
            Logits of shape (N, out_channels, H, W).

        Raises:
            UserError: If the maps do not fit ``in_channels`` and ``in_index``.
        """
        return self.cls_seg(self._forward_feature(inputs))

    def loss_by_feat(self, seg_logits: Tensor, batch_data_samples: list[SegDataSample]) -> dict:
        """Compare logits with labels at the labels' resolution.

        Args:
            seg_logits: Logits of shape (N, out_channels, H, W).
            batch_data_samples: N samples with ``gt_sem_seg`` of shape (1, H', W').

        Returns:
            The losses by their names, and the pixel accuracy in percent as 'acc_seg'.
        """
        labels = self._stack_batch_gt(batch_data_samples).squeeze(1)
        if self.out_channels == 1:
            return self._binary_loss(seg_logits, labels, batch_data_samples)
        if not applies_to(self, seg_logits):
            return super().loss_by_feat(seg_logits, batch_data_samples)
        return cross_entropy_by_image(self, seg_logits, labels)

    def _binary_loss(
        self, seg_logits: Tensor, labels: Tensor, batch_data_samples: list[SegDataSample]
    ) -> dict:
        """MMSeg's losses of one logit a pixel; 0 where no pixel counts, which MMSeg cannot do."""
        if (labels != self.ignore_index).any():
            losses = super().loss_by_feat(seg_logits, batch_data_samples)
        else:
            decode = self.loss_decode
            every = decode if isinstance(decode, nn.ModuleList) else [decode]
            losses = {loss.loss_name: 0 * seg_logits.float().sum() for loss in every}
        losses['acc_seg'] = binary_accuracy(self, seg_logits, labels)
        return losses


@MODELS.register_module()
class PANHead(FPAHead):
    """FPA on the deepest level, then one GAU for each shallower level.

    Levels are named from shallow to deep, as MMSeg's backbones give them:
    ``in_channels=(256, 512, 1024, 2048), in_index=(0, 1, 2, 3)`` is the whole network of
    figure 2 on a ResNet-101. With one level this is FPAHead.

    Args:
        in_channels: Channels of each level, or of the only one.
        low_level_kernel_size: Kernel of GAU's conv on the low-level map (3, or the
            ablation's 1).
        context: Whether GAU gates the low-level map by the pooled high-level one.
        gate_weight: What the weight of the norm of GAU's gates starts with.
        gate_bias: What its bias starts with; weight 0 and bias 1 start with gates of 1.
        refinement: Whether DFN's refinement blocks take GAU's place (the ablation's RRB);
            the four options of GAU are of no account then.
        **kwargs: Arguments of FPAHead.
    """

    def __init__(
        self,
        in_channels: int | Sequence[int],
        low_level_kernel_size: int = 3,
        context: bool = True,
        gate_weight: float = 1.0,
        gate_bias: float = 0.0,
        refinement: bool = False,
        **kwargs,
    ):
        if not isinstance(in_channels, int):
            kwargs.setdefault('input_transform', 'multiple_select')
        super().__init__(in_channels=in_channels, **kwargs)
        options: dict = dict(
            kernel_size=low_level_kernel_size,
            context=context,
            gate_weight=gate_weight,
            gate_bias=gate_bias,
        )
        self.gau = nn.ModuleList(
            RefinementUpsample(low_channels, self.channels, **self._block_cfg)
            if refinement
            else GlobalAttentionUpsample(low_channels, self.channels, **options, **self._block_cfg)
            for low_channels in reversed(self._level_channels[:-1])
        )

    def _forward_feature(self, inputs: Sequence[Tensor]) -> Tensor:
        """Return what comes before the classifier, (N, channels, H, W)."""
        *shallow, deepest = self._select_levels(inputs)
        y = self.fpa(deepest)
        for gau, low in zip(self.gau, reversed(shallow), strict=True):
            y = gau(low, y)
        return y
