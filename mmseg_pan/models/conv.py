"""Convolution, normalisation, activation: the ``C`` and ``B`` of the two blocks."""

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from torch import Tensor, nn
from torch.fx import Proxy
from torch.nn.modules.batchnorm import _BatchNorm


def values_per_channel(x: Tensor, norm: _BatchNorm) -> int:
    """How many values a channel ``norm`` would take its statistics from.

    Args:
        x: Feature map of shape (N, C, H, W).
        norm: The normalisation layer. SyncBatchNorm pools over all ranks of its process
            group; every other batch norm sees its own rank only.
    """
    count = x.numel() // x.shape[1]
    if isinstance(norm, nn.SyncBatchNorm) and torch.distributed.is_initialized():
        count *= torch.distributed.get_world_size(norm.process_group)
    return count


class SafeConvModule(ConvModule):
    """``ConvModule`` (stride 1, same size) that also trains on a single value.

    A 1x1 map with batch 1 has one value a channel: the variance of one value is zero,
    so batch norm would output its bias whatever the input is, and torch refuses
    ("Expected more than 1 value per channel"). Every GAU gate, the global branch of FPA
    and the pyramid's last levels on small maps meet this case. Then, and only then, the
    running statistics normalise and stay as they are; weight and bias keep their
    gradients, so no parameter goes unused under DistributedDataParallel. With two values
    or more this is exactly batch norm.

    The test sits here and not in a BatchNorm subclass because
    ``torch.nn.SyncBatchNorm.convert_sync_batchnorm`` replaces every such subclass
    silently.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, **kwargs):
        super().__init__(in_channels, out_channels, kernel_size, padding=kernel_size // 2, **kwargs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H, W)."""
        x = self._convolve(x)
        if self.with_norm:
            x = self._normalize(x)
        return self.activate(x) if self.with_activation else x

    def _convolve(self, x: Tensor) -> Tensor:
        # oneDNN 3.12 (torch 2.13) on a processor with bfloat16 instructions leaves the weight
        # gradient of taps that no pixel reaches unwritten: what lay in the memory before is
        # learnt from. A 7x7 kernel on a map of up to 3x3, as in FPA on small crops.
        if (
            not isinstance(x, Proxy)  # torch.fx traces shapes of no size
            and torch.is_grad_enabled()
            and torch.is_autocast_enabled('cpu')
            and x.device.type == 'cpu'
            and min(x.shape[2:]) <= self.conv.kernel_size[0] // 2
        ):
            with torch.autocast('cpu', enabled=False):
                return self.conv(x.float()).to(torch.get_autocast_dtype('cpu'))
        return self.conv(x)

    def _normalize(self, x: Tensor) -> Tensor:
        norm = self.norm
        if (
            not isinstance(x, Proxy)
            and isinstance(norm, _BatchNorm)
            and norm.training
            and norm.track_running_stats
            and values_per_channel(x, norm) == 1
        ):
            return F.batch_norm(
                x,
                norm.running_mean,
                norm.running_var,
                norm.weight,
                norm.bias,
                training=False,
                eps=norm.eps,
            )
        return norm(x)


def build_conv(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    separable: bool = False,
    **kwargs,
) -> nn.Module:
    """Build ``C_k``: a k x k conv with normalisation and activation.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Odd side of the kernel; the map keeps its size.
        separable: Replace the k x k conv by a depthwise k x k and a pointwise 1x1, each
            with normalisation and activation (as MMSeg's separable heads have it).
        **kwargs: ``conv_cfg``, ``norm_cfg``, ``act_cfg`` of mmcv's ConvModule.
    """
    if not separable or kernel_size == 1:
        return SafeConvModule(in_channels, out_channels, kernel_size, **kwargs)
    return nn.Sequential(
        SafeConvModule(in_channels, in_channels, kernel_size, groups=in_channels, **kwargs),
        SafeConvModule(in_channels, out_channels, 1, **kwargs),
    )
