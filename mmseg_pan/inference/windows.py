"""Sliding windows over an image that is too large to process at once."""

import numpy as np
import torch
from mmseg.models.segmentors.base import BaseSegmentor
from torch import Tensor


def window_starts(length: int, window: int) -> list[int]:
    """Start positions of windows along one side, which cover all of it.

    Neighbours overlap by a third of a window, as in MMSegmentation's configs (512, 341); the
    last one ends with the image and may overlap by more.

    Args:
        length: Of the side, in pixels.
        window: Of a window, in pixels.
    """
    last = max(length - window, 0)
    return [*range(0, last, max(2 * window // 3, 1)), last]


def windowed_logits(model: BaseSegmentor, inputs: Tensor, metas: list[dict], window: int) -> Tensor:
    """Segment window by window, and average logits where windows overlap.

    MMSegmentation's ``slide_inference`` does the same with a map of the whole image for each
    window; here it is one map in all.

    Args:
        model: The segmentor.
        inputs: Images (N, 3, H, W) as the network takes them.
        metas: Their ``metainfo``.
        window: Side of a window, in pixels of ``inputs``.

    Returns:
        Logits (N, C, H, W).
    """
    height, width = inputs.shape[2:]
    total, count = None, inputs.new_zeros(1, 1, height, width)
    for top in window_starts(height, window):
        for left in window_starts(width, window):
            part = (..., slice(top, top + window), slice(left, left + window))
            # torch.Size tells MMSeg's heads to resize to the window and not to the image.
            size = torch.Size(inputs[part].shape[2:])
            seen = [{**meta, 'img_shape': size} for meta in metas]
            logits = model.encode_decode(inputs[part], seen)
            if total is None:
                total = logits.new_zeros(*logits.shape[:2], height, width)
            total[part] += logits
            count[part] += 1
    return total.div_(count)


def changed_share(one: np.ndarray, other: np.ndarray) -> float:
    """The share of pixels that have different classes in two label maps ``(H, W)``."""
    return np.count_nonzero(one != other) / one.size
