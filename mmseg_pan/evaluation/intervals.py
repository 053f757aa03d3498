"""Confidence intervals of differences in mean IoU.

Two questions, two functions: of two trained networks, on other images of the kind
(:func:`difference_of_networks`); and of two recipes, whose networks differ from seed to seed
(:func:`difference_of_recipes`). How often the intervals hold the true value is simulated in
``docs/statistics.md``.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

LEVEL = 0.95


class Variance(NamedTuple):
    """An estimated variance and the degrees of freedom of the estimate."""

    value: float
    freedom: float


def difference_of_networks(
    first: np.ndarray, second: np.ndarray, chosen: Sequence[int] | None = None
) -> dict[str, float]:
    """Compare two trained networks on the same images.

    The interval covers other images of the same kind, not other seeds: it says nothing about the
    recipes that the networks were trained by.

    Args:
        first: Confusion matrices of each image, ``(images, classes, classes)``, see
            :func:`mmseg_pan.evaluation.confusion.confusions`.
        second: The same of the other network.
        chosen: Ids of the classes that count; None: all that are there.

    Returns:
        'mean' of the difference, and 'low' and 'high' of its 95 % interval, in points of mean IoU;
        these are None for a single image, which says nothing about others.
    """
    sides = [class_counts(first), class_counts(second)]
    values = [_pseudo_values(*side, chosen) for side in sides]
    scores = [mean_iou_of_counts(*side, chosen) for side in sides]
    mean = float(scores[0] - scores[1])
    if len(first) < 2:
        return dict(mean=mean, low=None, high=None)
    return _student_interval(mean, [_variance_of_mean(values[0] - values[1])])


def difference_of_recipes(
    first: np.ndarray, second: np.ndarray, chosen: Sequence[int] | None = None
) -> dict[str, float | None]:
    """Compare two recipes by networks of several seeds each, on the same images.

    Images and seeds are crossed: the variance of the difference is that over images of the mean
    over seeds, plus that over seeds of each side, less their interaction, which both contain.
    The ends are those of Student's t, with degrees of freedom between Satterthwaite's
    (Biometrics Bulletin 2, 1946) and Welch's.

    Args:
        first: ``(seeds, images, classes, classes)``.
        second: The same of the other recipe, with any number of seeds.
        chosen: Ids of the classes that count; None: all that are there.

    Returns:
        'mean', 'low' and 'high' as :func:`difference_of_networks` has them. With one seed per
        recipe, or one image, 'low' and 'high' are None: it says nothing about the spread.
    """
    sides = [class_counts(first), class_counts(second)]
    return difference_of_counts(*sides, chosen)


def difference_of_counts(
    first: tuple, second: tuple, chosen: Sequence[int] | None, shifts: tuple = (0.0, 0.0)
) -> dict[str, float | None]:
    """Do the work of :func:`difference_of_recipes` from :func:`class_counts`.

    Args:
        first: Hits and unions, each ``(seeds, images, classes)``.
        second: The same of the other recipe.
        chosen: Ids of the classes that count.
        shifts: Points that are added to each seed of a recipe, for simulations.
    """
    scores, values = [], []
    for (hits, unions), shift in zip((first, second), shifts, strict=True):
        scores.append(mean_iou_of_counts(hits, unions, chosen) + shift)
        values.append(_pseudo_values(hits, unions, chosen))
    mean = float(scores[0].mean() - scores[1].mean())
    if min(*map(len, scores), values[0].shape[1]) < 2:
        return dict(mean=mean, low=None, high=None)
    return _student_interval(mean, variances(scores, values))


def variances(scores: Sequence[np.ndarray], values: Sequence[np.ndarray]) -> list[Variance]:
    """Split the variance of a difference of means into images, seeds and their interaction.

    Args:
        scores: For each side the mean IoU of each seed, ``(seeds,)``.
        values: For each side the pseudo-values of each seed and image, ``(seeds, images)``.
    """
    images = _variance_of_mean(values[0].mean(0) - values[1].mean(0))
    parts = [images]
    for side, value in zip(scores, values, strict=True):
        seeds, count = value.shape
        parts.append(Variance(side.var(ddof=1) / seeds, seeds - 1))
        rest = value - value.mean(0) - value.mean(1, keepdims=True) + value.mean()
        freedom = (seeds - 1) * (count - 1)
        interaction = (rest**2).sum() / freedom
        # In the images' part and in the seeds' part: one of them has to go.
        parts.append(Variance(-interaction / (seeds * count), freedom))
    return parts


def _student_interval(mean: float, parts: Sequence[Variance]) -> dict[str, float]:
    # Never below what the images alone make: an estimate of the rest may come out negative.
    total = max(sum(part.value for part in parts), parts[0].value)
    # Satterthwaite's form (value**2 / freedom) covers the truth too often with two seeds each,
    # Welch's (Biometrika 34, 1947: freedom + 2, and 2 less in the end) too seldom: in between.
    weights = sum(part.value**2 / (part.freedom + 1) for part in parts)
    freedom = total**2 / weights - 1 if weights else np.inf
    half = float(stdtrit(max(freedom, 1), (1 + LEVEL) / 2) * np.sqrt(total))
    return dict(mean=mean, low=mean - half, high=mean + half)


def _variance_of_mean(values: np.ndarray) -> Variance:
    return Variance(values.var(ddof=1) / len(values), len(values) - 1)


def class_counts(matrices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Hits and unions, ``(..., classes)``, of confusion matrices ``(..., classes, classes)``."""
    hits = np.diagonal(matrices, axis1=-2, axis2=-1).astype(float)
    return hits, matrices.sum(-1) + matrices.sum(-2) - hits


def mean_iou_of_counts(hits: np.ndarray, unions: np.ndarray, chosen: Sequence[int] | None):
    """Mean IoU in per cent over the images, ``(..., images, classes)`` to ``(...)``."""
    return _mean_of_ratios(hits.sum(-2), unions.sum(-2), chosen)


def _pseudo_values(hits: np.ndarray, unions: np.ndarray, chosen: Sequence[int] | None):
    """The jackknife's pseudo-values of the mean IoU, ``(..., images)``.

    Their mean has the variance of the mean IoU over drawings of images.
    """
    count = hits.shape[-2]
    left = _mean_of_ratios(
        hits.sum(-2, keepdims=True) - hits, unions.sum(-2, keepdims=True) - unions, chosen
    )
    whole = mean_iou_of_counts(hits, unions, chosen)
    return count * whole[..., None] - (count - 1) * left


def _mean_of_ratios(hits: np.ndarray, unions: np.ndarray, chosen: Sequence[int] | None):
    """Mean over the classes that are there, in per cent, along the last axis."""
    if chosen is not None:
        hits, unions = hits[..., list(chosen)], unions[..., list(chosen)]
    there = unions > 0
    ratios = np.divide(100 * hits, unions, out=np.zeros(hits.shape), where=there)
    return ratios.sum(-1) / np.maximum(there.sum(-1), 1)
