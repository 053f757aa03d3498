"""Label maps from logits, without keeping the logits at full resolution."""

from mmengine.structures import PixelData
from mmseg.models.segmentors.base import BaseSegmentor
from mmseg.models.utils import resize
from mmseg.structures import SegDataSample
from torch import Tensor

from mmseg_pan.errors import UserError

#: The directions of RandomFlip, and the dimensions of (N, C, H, W) that each reverses.
FLIPPED_DIMS = dict(horizontal=(3,), vertical=(2,), diagonal=(2, 3))


def postprocess_labels(
    model: BaseSegmentor, seg_logits: Tensor, data_samples: list[SegDataSample] | None = None
) -> list[SegDataSample]:
    """Do what MMSeg's ``postprocess_result`` does, and keep no ``seg_logits``.

    Label maps are the same, bit for bit, for the same logits.

    Args:
        model: The segmentor.
        seg_logits: Logits of shape (N, C, H, W).
        data_samples: N samples with ``ori_shape``, padding and flip; None: the label map
            has the size of the logits.

    Returns:
        The samples with ``pred_sem_seg`` of shape (1, H', W') at the original size.
    """
    if data_samples is None:
        data_samples = [SegDataSample() for _ in seg_logits]
    # split() keeps strides, by which torch chooses the kernel that resizes.
    for logits, sample in zip(seg_logits.split(1), data_samples, strict=True):
        logits = original_view(logits, sample.metainfo)
        size = sample.metainfo.get('ori_shape')
        if len(logits[0]) == 1:
            score = _resize(model, logits, size)[0].sigmoid()
            labels = (score > model.decode_head.threshold).to(score)
        else:
            labels = argmax_over_classes(_resize(model, logits, size)[0])
        sample.set_data({'pred_sem_seg': PixelData(data=labels)})
    return data_samples


def original_view(logits: Tensor, meta: dict) -> Tensor:
    """Take padding and flip off one image's logits.

    Args:
        logits: Logits of shape (1, C, H, W).
        meta: The image's ``metainfo``.

    Returns:
        Logits of shape (1, C, h, w), not yet at the original size.

    Raises:
        UserError: If the image was flipped in a way that is not known here.
    """
    left, right, top, bottom = meta.get('img_padding_size', meta.get('padding_size', [0] * 4))
    height, width = logits.shape[2:]
    logits = logits[:, :, top : height - bottom, left : width - right]
    if meta.get('flip'):
        direction = meta.get('flip_direction')
        if direction not in FLIPPED_DIMS:
            raise UserError(
                f'The test pipeline flips images in the direction {direction!r}, and only '
                f'{", ".join(FLIPPED_DIMS)} flips can be undone; change RandomFlip.'
            )
        logits = logits.flip(dims=FLIPPED_DIMS[direction])
    return logits


def argmax_over_classes(x: Tensor) -> Tensor:
    """Return ``x.argmax(dim=0, keepdim=True)`` for a map of shape (C, H, W).

    torch documents the first of equal values for both functions. On a CPU (torch 2.13,
    21 channels of 333x500) argmax over the first dimension takes 31 ms, max 8 ms.
    """
    return x.max(dim=0, keepdim=True).indices


def _resize(model: BaseSegmentor, logits: Tensor, size: tuple[int, int] | None) -> Tensor:
    if size is None:
        return logits
    return resize(
        logits, size=size, mode='bilinear', align_corners=model.align_corners, warning=False
    )
