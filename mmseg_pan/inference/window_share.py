"""How windows change predictions: global context ends at the border of a window."""

from collections.abc import Iterable, Sequence

import numpy as np
from mmseg.models.segmentors.base import BaseSegmentor

from .predictor import Predictor
from .windows import changed_share

_NEVER = 10**9


def window_shares(
    model: BaseSegmentor, images: Iterable[np.ndarray], windows: Sequence[int]
) -> dict[int, tuple[int, float]]:
    """Compare label maps from windows with those of whole images.

    Args:
        model: See :class:`~mmseg_pan.inference.predictor.Predictor`.
        images: ``(H, W, 3)`` uint8, BGR.
        windows: Sides of windows, in pixels after the test pipeline.

    Returns:
        For each window, the number of images that are larger and the share of their pixels
        that get another class; NaN where no image is larger.
    """
    predictor = Predictor(model)
    found = {window: [] for window in windows}
    for image in images:
        prepared = predictor.prepare(image)
        side = max(prepared['inputs'].shape[1:])
        predictor.window = _NEVER
        (whole,) = predictor.predict([prepared])
        for window in windows:
            if side > window:
                predictor.window = window
                (parts,) = predictor.predict([prepared])
                found[window].append((changed_share(whole, parts), whole.size))
    return {window: (len(pairs), _mean(pairs)) for window, pairs in found.items()}


def _mean(pairs: list[tuple[float, int]]) -> float:
    if not pairs:
        return float('nan')
    shares, pixels = zip(*pairs, strict=True)
    return float(np.average(shares, weights=pixels))
