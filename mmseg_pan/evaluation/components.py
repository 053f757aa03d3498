"""Recall by the size of the connected components of the ground truth."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

#: Columns of a table of components.
IMAGE, CLASS, SIZE, RIGHT = range(4)


class SizeBin(NamedTuple):
    """Components of ``low`` to ``high - 1`` pixels: means in per cent, 95 % intervals."""

    low: int
    high: int
    count: int
    recall: tuple[float, float, float]  # mean, and the ends of its interval
    other: tuple[float, float, float] | None = None  # of another network
    gap: tuple[float, float, float] | None = None  # recall above the other's, in points


def components(truth: np.ndarray, prediction: np.ndarray, ignore_index: int = 255) -> np.ndarray:
    """Split the ground truth into components and count the correct pixels of each.

    Pixels of one class that touch, corners included, are one component: an object, a part
    of one that something hides, or several that touch.

    Args:
        truth: Class ids (H, W).
        prediction: Class ids (H, W).
        ignore_index: Truth that does not count.

    Returns:
        ``(components, 3)``: class, size in pixels, pixels of them predicted right.
    """
    right = truth == prediction
    found = []
    for label in np.unique(truth):
        if label == ignore_index:
            continue
        count, ids, stats, _ = cv2.connectedComponentsWithStats((truth == label).astype(np.uint8))
        hits = np.bincount(ids[right], minlength=count)
        sizes = stats[:, cv2.CC_STAT_AREA]
        found += [(label, sizes[i], hits[i]) for i in range(1, count)]  # 0 is all the rest
    return np.array(found, np.int64).reshape(-1, 3)


def recall_by_size(
    table: np.ndarray, images: int, other: np.ndarray | None = None, draws: int = 2000
) -> list[SizeBin]:
    """Mean recall of components by their size, with intervals from a bootstrap over images.

    A component's recall is the share of its pixels that were predicted right; in the mean
    each component counts once, however large it is.

    Args:
        table: ``(components, 4)``: image, class, size, right.
        images: Number of images.
        other: The same components with another network's 'right'; the same images are
            drawn for both.
        draws: How often to draw.

    Returns:
        Bins that four times the size separates, from the first with a component to the
        last.
    """
    if not len(table):
        return []
    edges = _edges(table[:, SIZE])
    bins = np.searchsorted(edges, table[:, SIZE], side='right') - 1
    random = np.random.default_rng(0)
    drawn = random.multinomial(images, np.full(images, 1 / images), size=draws)
    weights = np.concatenate([np.ones((1, images), int), drawn])  # first the data itself
    counts = weights @ _sums(table, bins, np.ones(len(table)), images, len(edges) - 1)
    recalls = []
    for one in (table, other):
        if one is not None:
            shares = 100 * one[:, RIGHT] / one[:, SIZE]
            sums = weights @ _sums(table, bins, shares, images, len(edges) - 1)
            with np.errstate(invalid='ignore'):  # draws without a component of the size
                recalls.append(sums / counts)
    if other is not None:
        recalls.append(recalls[0] - recalls[1])
    return [
        SizeBin(edges[i], edges[i + 1], int(counts[0, i]), *(_interval(r[:, i]) for r in recalls))
        for i in range(len(edges) - 1)
    ]


def objects(table: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """Leave out the components of a class that is called background."""
    kept = [name.lower() != 'background' for name in classes]
    return table[np.array(kept)[table[:, CLASS]]]


def _edges(sizes: np.ndarray) -> list[int]:
    low, high = (int(size).bit_length() - 1 for size in (sizes.min(), sizes.max()))
    return [4**power for power in range(low // 2, high // 2 + 2)]


def _sums(table, bins, values, images: int, count: int) -> np.ndarray:
    """Sum over the components of each image and bin: (images, bins)."""
    cells = table[:, IMAGE] * count + bins
    return np.bincount(cells, values, minlength=images * count).reshape(images, count)


def _interval(draws: np.ndarray) -> tuple[float, float, float]:
    if np.isnan(draws[0]):
        return (np.nan, np.nan, np.nan)
    low, high = np.nanpercentile(draws[1:], [2.5, 97.5])
    return float(draws[0]), float(low), float(high)
