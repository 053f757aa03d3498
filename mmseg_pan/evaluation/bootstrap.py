"""Is one network better than another? A paired bootstrap over images and seeds."""

from collections.abc import Sequence

import numpy as np

from .confusion import iou_by_class


def difference(
    first: np.ndarray,
    second: np.ndarray,
    chosen: Sequence[int] | None = None,
    draws: int = 2000,
    seed: int = 0,
) -> dict[str, float]:
    """Estimate how much the mean IoU of one network is above another's.

    Every draw takes as many images as there are, with replacement and the same for both
    networks, and as many seeds of each network, and computes the mean IoU of each seed over
    the drawn images as a test would: from summed counts.

    Args:
        first: ``(seeds, images, classes, classes)``, see
            :func:`mmseg_pan.evaluation.confusion.confusions`.
        second: The same for the other network: the same images, any number of seeds.
        chosen: Ids of the classes that count; None: all that are there.
        draws: How often to draw.
        seed: Of the drawing.

    Returns:
        'mean' of the difference, and the ends 'low' and 'high' of its 95 % interval, in
        points of mean IoU.
    """
    random = np.random.default_rng(seed)
    images = first.shape[1]
    counts = random.multinomial(images, np.full(images, 1 / images), size=draws)
    counts = np.concatenate([np.ones((1, images), counts.dtype), counts])  # the data itself
    scores = []
    for matrices in (first, second):
        by_seed = np.stack([_mean_iou(counts, one, chosen) for one in matrices], axis=1)
        seeds = len(matrices)
        weights = random.multinomial(seeds, np.full(seeds, 1 / seeds), size=draws) / seeds
        weights = np.concatenate([np.full((1, seeds), 1 / seeds), weights])
        scores.append((by_seed * weights).sum(axis=1))
    gaps = scores[0] - scores[1]
    low, high = np.percentile(gaps[1:], [2.5, 97.5])
    return dict(mean=float(gaps[0]), low=float(low), high=float(high))


def _mean_iou(counts: np.ndarray, matrices: np.ndarray, chosen) -> np.ndarray:
    """Mean IoU of each draw: (draws, images), (images, classes, classes) -> (draws,)."""
    images, classes, _ = matrices.shape
    # As floats, whose products have a fast library and are exact far beyond these counts.
    sums = counts.astype(float) @ matrices.reshape(images, -1).astype(float)
    iou = iou_by_class(sums.reshape(-1, classes, classes))
    return np.nanmean(iou if chosen is None else iou[:, list(chosen)], axis=1)
