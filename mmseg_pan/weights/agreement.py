"""Compare the outputs of a written network with those of its original."""

from collections.abc import Iterator

import torch
from mmengine.dataset import pseudo_collate
from mmseg.models.segmentors.base import BaseSegmentor
from mmseg.structures import SegDataSample
from torch import Tensor

#: Differences of logits below this share of their range are rounding.
ROUNDING = 1e-3
#: What float16 weights may change: their steps of a two-thousandth add up over layers.
HALF_ROUNDING = 0.05


def synthetic_images(*sizes: tuple[int, int], channels: int = 3, seed: int = 0) -> Iterator[Tensor]:
    """Make images (1, C, H, W) uint8 of coloured patches from coarse to fine, with noise.

    Args:
        *sizes: Height and width in pixels of each.
        channels: C.
        seed: Of the random numbers.
    """
    random = torch.Generator().manual_seed(seed)
    for size in sizes:
        image = torch.zeros(1, channels, *size)
        for cells in (2, 5, 17):
            coarse = torch.rand(1, channels, cells, cells, generator=random)
            image += torch.nn.functional.interpolate(coarse, size, mode='bilinear')
        image += 0.3 * torch.rand(image.shape, generator=random)
        image -= image.amin()
        yield (255 * image / image.amax()).to(torch.uint8)


def share_changed(
    expected: Tensor, found: Tensor, labels: bool = False, rounding: float = ROUNDING
) -> float:
    """Share of pixels where a network differs from its original by more than rounding.

    Two classes whose logits are equal to rounding may change places.

    Args:
        expected: Logits (N, C, H, W) of the original.
        found: Logits (N, C, H, W), or class ids (N, H, W), of the other.
        labels: Whether ``found`` is class ids.
        rounding: Share of the range of the logits that is no difference.

    Returns:
        From 0 to 1; NaN and infinity are differences.
    """
    if labels:
        if found.shape != (len(expected), *expected.shape[2:]):
            return 1.0
        logits = expected.gather(1, found.long().clamp(0, expected.shape[1] - 1)[:, None])[:, 0]
        difference = expected.amax(dim=1) - logits
    else:
        if found.shape != expected.shape:
            return 1.0
        difference = (found - expected).abs().amax(dim=1)
    scale = expected.abs().amax()
    limit = rounding * (expected.amax() - expected.amin()) + 1e-5 * scale
    return 1 - float((difference <= limit).float().mean())


@torch.inference_mode()
def segment_image(model: BaseSegmentor, image: Tensor) -> Tensor:
    """Logits (1, C, H, W) in float32 of an image (1, C, H, W) uint8, after the preprocessor."""
    size = tuple(image.shape[2:])
    sample = SegDataSample(metainfo=dict(img_shape=size, ori_shape=size, pad_shape=size))
    batch = pseudo_collate([dict(inputs=image[0], data_samples=sample)])
    data = model.data_preprocessor(batch, False)
    metas = [sample.metainfo for sample in data['data_samples']]
    return model.inference(data['inputs'], metas).float().cpu()


def input_channels(model: BaseSegmentor) -> int:
    """Channels of the images that a segmentor takes; ``model`` has ``cfg``."""
    backbone = model.cfg.model.get('backbone') or {}
    mean = model.cfg.model.get('data_preprocessor', {}).get('mean')
    return backbone.get('in_channels') or (len(mean) if mean else 3)
