"""Inspect every image and mask of a data set on all cores."""

import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from mmseg_pan.datasets.inspection import Fault, Inspection, MaskRules, inspect_pair
from mmseg_pan.datasets.reading import Loading
from mmseg_pan.parallel import available_cores, map_files

from .splits import Split, faults_between, read_splits


@dataclass
class ClassCounts:
    """How often each class occurs: in pixels, and in images.

    Args:
        pixels: One count for each class.
        images: Number of images in which it occurs.
    """

    pixels: np.ndarray
    images: np.ndarray


@dataclass
class Verification:
    """What :func:`verify` found.

    Args:
        splits: What was looked at.
        faults: What is wrong, sorted by severity, kind and file.
        classes: Names of the classes.
        counts: Class frequencies of ``train`` and ``val``.
        seconds: How long it took.
    """

    splits: list[Split]
    faults: list[Fault]
    classes: tuple[str, ...]
    counts: dict[str, ClassCounts]
    seconds: float = 0.0
    pairs: int = field(default=0)

    @property
    def harmful(self) -> bool:
        """Whether a fault would break or bias training."""
        return any(fault.severity != 'harmless' for fault in self.faults)


def verify(target: str | Path, processes: int | None = None) -> Verification:
    """Inspect the training and validation data of a config or of a folder in VOC's layout.

    Args:
        target: Config file or folder.
        processes: Number of workers; all cores by default.

    Raises:
        UserError: If it is neither, or a list cannot be found.
    """
    start = time.perf_counter()
    splits = read_splits(target)
    faults = [fault for split in splits for fault in split.faults]
    faults += faults_between(splits)
    tasks = {pair: (index, *pair) for index, split in enumerate(splits) for pair in split.pairs}
    inspect = partial(_inspect, [(split.rules, split.loading) for split in splits])
    classes = splits[0].classes
    counts = {
        role: ClassCounts(np.zeros(256, np.int64), np.zeros(256, np.int64))
        for role in dict.fromkeys(split.role for split in splits)
    }
    workers = processes or available_cores()
    for index, inspection in map_files(inspect, list(tasks.values()), workers, 'Pairs'):
        faults += inspection.faults
        if inspection.pixels is not None:
            split = splits[index]
            pixels = np.bincount(split.new_ids, inspection.pixels, 256).astype(np.int64)
            counts[split.role].pixels += pixels
            counts[split.role].images += pixels > 0
    order = ('breaks', 'biases', 'harmless')
    faults.sort(key=lambda fault: (order.index(fault.severity), fault.kind, fault.path))
    kept = {
        role: ClassCounts(count.pixels[: len(classes)], count.images[: len(classes)])
        for role, count in counts.items()
    }
    seconds = time.perf_counter() - start
    return Verification(splits, faults, classes, kept, seconds, len(tasks))


def _inspect(
    ways: list[tuple[MaskRules, Loading | None]], task: tuple[int, str, str | None]
) -> tuple[int, Inspection]:
    index, image, mask = task
    return index, inspect_pair(image, mask, *ways[index])
