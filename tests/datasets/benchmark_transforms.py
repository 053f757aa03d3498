#!/usr/bin/env python
"""Samples a second of the VOC training pipelines: MMSegmentation's transforms and ours, in one run.

VOC_ROOT=data/VOCdevkit/VOC2012 python tests/datasets/benchmark_transforms.py

One process, one core, no loader: what one worker does. In each round the two ways take
the same photographs and the same random numbers, one after the other, and which one begins
changes. Compare the ratios: samples/s depend on the machine and its other work.
"""

import argparse
import os
import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import TRANSFORMS

import mmseg_pan  # noqa: F401  registers the transforms

PIPELINES = ('voc_aug', 'voc_aug_256x256', 'voc_aug_paper')
#: A list, and the folder that holds its masks.
LISTS = {'train': 'SegmentationClass', 'aug': 'SegmentationClassAug'}


def find_photographs(voc: Path, count: int) -> list[dict]:
    """What the data sets of the configs give to their pipelines, half from each list."""
    samples = []
    for name, folder in LISTS.items():
        path = voc / 'ImageSets' / 'Segmentation' / f'{name}.txt'
        if not path.is_file():
            sys.exit(f'{path} does not exist: set VOC_ROOT to the folder VOCdevkit/VOC2012.')
        samples += [
            dict(
                img_path=str(voc / 'JPEGImages' / f'{image}.jpg'),
                seg_map_path=str(voc / folder / f'{image}.png'),
                label_map=None,
                reduce_zero_label=False,
            )
            for image in path.read_text().split()[: count // 2]
        ]
    return samples


def build_both(name: str) -> dict[str, list]:
    """The steps of a config's training pipeline, and the ones that they extend."""
    steps = Config.fromfile(ROOT / 'configs' / '_base_' / 'datasets' / f'{name}.py').train_pipeline
    stock = [{**step, 'type': step['type'].removeprefix('Fast')} for step in steps]
    return dict(stock=[*map(TRANSFORMS.build, stock)], ours=[*map(TRANSFORMS.build, steps)])


class Stopwatch:
    """Seconds for each round: by the wall, and the processor's for each step."""

    def __init__(self):
        self.wall: list[float] = []
        self.steps: list[np.ndarray] = []

    @property
    def processor(self) -> list[float]:
        return [steps.sum() for steps in self.steps]

    def run(self, pipeline: list, samples: list[dict], seed: int) -> None:
        np.random.seed(seed)
        spent = np.zeros(len(pipeline))
        start = time.perf_counter()
        for sample in samples:
            results = {**sample, 'seg_fields': []}
            before = time.process_time()
            for number, step in enumerate(pipeline):
                results = step(results)
                after = time.process_time()
                spent[number] += after - before
                before = after
        self.wall.append(time.perf_counter() - start)
        self.steps.append(spent)


def spread(values) -> str:
    """Median, smallest and largest."""
    digits = 0 if max(values) > 20 else 2
    median = statistics.median(values)
    return f'{median:.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})'


def main() -> None:
    """Measure, and print two tables in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--photographs', type=int, default=100)
    parser.add_argument('--rounds', type=int, default=11)
    args = parser.parse_args()
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    init_default_scope('mmseg')
    samples = find_photographs(
        Path(os.environ.get('VOC_ROOT', 'data/VOCdevkit/VOC2012')), args.photographs
    )
    pipelines = {name: build_both(name) for name in PIPELINES}
    watches = {name: {way: Stopwatch() for way in both} for name, both in pipelines.items()}
    for both in pipelines.values():
        for steps in both.values():  # files into the page cache, libraries into memory
            Stopwatch().run(steps, samples, seed=0)
    for number in range(args.rounds):
        for name, both in pipelines.items():
            for way in sorted(both, reverse=number % 2 == 0):
                watches[name][way].run(both[way], samples, seed=number)

    print(f'{len(samples)} photographs, {args.rounds} rounds: median (smallest-largest)\n')
    print('| pipeline | stock, samples/s | ours, samples/s | ratio | ratio, processor time |')
    print('| --- | ---: | ---: | ---: | ---: |')
    for name, both in watches.items():
        stock, ours = both['stock'], both['ours']
        cells = [spread([len(samples) / wall for wall in watch.wall]) for watch in (stock, ours)]
        for kind in ('wall', 'processor'):
            pairs = zip(getattr(stock, kind), getattr(ours, kind), strict=True)
            cells.append(spread([slow / fast for slow, fast in pairs]))
        print(f'| `{name}` | {" | ".join(cells)} |')

    print('\n| pipeline | transform | stock, ms | share | ours, ms | share |')
    print('| --- | --- | ---: | ---: | ---: | ---: |')
    for name, both in watches.items():
        medians = {way: np.median(watch.steps, axis=0) for way, watch in both.items()}
        for number, step in enumerate(pipelines[name]['stock']):
            cells = [
                f'{1000 * steps[number] / len(samples):.2f} | {steps[number] / steps.sum():.0%}'
                for steps in (medians['stock'], medians['ours'])
            ]
            print(f'| `{name}` | {type(step).__name__} | {" | ".join(cells)} |')


if __name__ == '__main__':
    main()
