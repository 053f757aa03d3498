"""How often does a 95 % interval hold the true difference?

python -m tests.evaluation.coverage      the table of docs/statistics.md, about 45 minutes

A simulated run takes the matrices of one of the three recorded seeds of its recipe on images that
are drawn with replacement, the same for both recipes, and a seed effect from a normal distribution
with the recorded variance. The truth is the difference that all recorded images and seeds give.
"""

import argparse

import numpy as np

from mmseg_pan.evaluation import intervals
from tests.paths import ROOT

RECORD = ROOT / 'configs/pan/results/voc_heads'
SEVEN = [0, 8, 10, 12, 13, 15, 17]
NINE = [0, 8, 9, 10, 12, 13, 15, 17, 18]


def recorded(name: str) -> np.ndarray:
    """The matrices of a recipe, ``(seeds, images, classes, classes)``."""
    files = sorted(RECORD.glob(f'{name}_seed*.npz'))
    assert len(files) == 3, f'{RECORD} has {len(files)} runs of {name}'
    return np.stack([np.load(file)['matrices'] for file in files]).astype(float)


def simulate(
    first: np.ndarray, second: np.ndarray, seeds: int, images: int, repetitions: int, chosen, seed=0
) -> tuple[float, float]:
    """Return the share of intervals that cover the truth, and their mean width in points."""
    random = np.random.default_rng(seed)
    sides = [intervals.class_counts(side) for side in (first, second)]
    levels = [intervals.mean_iou_of_counts(*side, chosen) for side in sides]
    truth = levels[0].mean() - levels[1].mean()
    held, widths = 0, []
    for _ in range(repetitions):
        drawn = random.integers(first.shape[1], size=images)
        runs, shifts = [], []
        for (hits, unions), own in zip(sides, levels, strict=True):
            which = random.integers(len(own), size=seeds)
            runs.append((hits[which][:, drawn], unions[which][:, drawn]))
            # The recorded seed's own level goes, the simulated one's comes.
            shifts.append(own.mean() - own[which] + random.normal(0, own.std(ddof=1), seeds))
        found = intervals.difference_of_counts(*runs, chosen, tuple(shifts))
        held += found['low'] <= truth <= found['high']
        widths.append(found['high'] - found['low'])
    return held / repetitions, float(np.mean(widths))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--repetitions', type=int, default=4000)
    parser.add_argument('--images', nargs='+', type=int, default=[50, 245, 1449])
    args = parser.parse_args()
    print('| classes | seeds per recipe | images | coverage % | mean width, points |')
    print('| --- | ---: | ---: | ---: | ---: |')
    first, second = recorded('PAN'), recorded('DeepLabV3+')
    for name, chosen in (('nine', NINE), ('seven', SEVEN), ('all', None)):
        for seeds in (2, 3, 4, 5):
            for images in args.images:
                held, width = simulate(first, second, seeds, images, args.repetitions, chosen)
                print(
                    f'| {name} | {seeds} | {images} | {100 * held:.1f} | {width:.1f} |', flush=True
                )


if __name__ == '__main__':
    main()
