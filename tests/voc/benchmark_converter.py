#!/usr/bin/env python
"""Masks a second: this converter, MMSegmentation's, and a plain loop, in one run.

python tests/datasets/benchmark_converter.py
"""

import argparse
import importlib.util
import os
import shutil
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[level]) for level in (1, 2)]

import mmseg
import numpy as np
from mmengine.utils import scandir, track_parallel_progress, track_progress
from PIL import Image
from scipy.io import loadmat

from mmseg_pan.datasets.masks import encode_mask, voc_palette
from mmseg_pan.voc.converter import prepare_voc_aug
from mmseg_pan.voc.manifest import ArchiveFacts, ListFacts, Manifest, hash_ids
from tests.mini_voc import write_jpeg, write_lists, write_mat

SHAPE = (375, 500)  # most photographs of VOC


def make_data(home: Path, count: int) -> Manifest:
    """SBD with ``count`` masks of real size: three ellipses each."""
    voc, sbd = home / 'VOCdevkit' / 'VOC2012', home / 'VOCaug' / 'dataset'
    for folder in (voc / 'JPEGImages', voc / 'SegmentationClass', sbd / 'cls'):
        folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    ids = [f'2008_{number:06d}' for number in range(count)]
    train, val, aug = ids[:1], ids[1:2], ids[2:]
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    for name in ids:
        mask = np.zeros(SHAPE, np.uint8)
        for _ in range(3):
            (top, left), (high, wide) = random.uniform(0, SHAPE), random.uniform(30, 150, 2)
            wave = 1 + 0.2 * np.sin(np.arctan2(y - top, x - left) * random.integers(3, 9))
            inside = ((y - top) / high) ** 2 + ((x - left) / wide) ** 2 < wave
            mask[inside] = random.integers(1, 21)
        write_mat(sbd / 'cls' / f'{name}.mat', mask)
        write_jpeg(voc / 'JPEGImages' / f'{name}.jpg', SHAPE)
        if name not in aug:
            (voc / 'SegmentationClass' / f'{name}.png').write_bytes(encode_mask(mask))
    write_lists(voc / 'ImageSets' / 'Segmentation', train=train, val=val)
    write_lists(sbd, train=aug[::2], val=aug[1::2])
    lists = dict(train=train, val=val, aug=aug, trainaug=train + aug)
    none = ArchiveFacts('', '')
    facts = {name: ListFacts(len(items), hash_ids(items)) for name, items in lists.items()}
    return Manifest(none, none, facts)


def plain_loop(cls: Path, out: Path) -> None:
    """What one writes on a Friday evening."""
    out.mkdir()
    for path in sorted(cls.glob('*.mat')):
        mask = loadmat(path)['GTcls']['Segmentation'][0, 0]
        image = Image.fromarray(mask)
        image.putpalette(voc_palette())
        image.save(out / f'{path.stem}.png')


def of_mmseg(cls: Path, out: Path, processes: int) -> None:
    """The conversion of MMSegmentation's script, as its main function calls it."""
    script = Path(mmseg.__file__).parent / '.mim/tools/dataset_converters/voc_aug.py'
    spec = importlib.util.spec_from_file_location('voc_aug', script)
    module = importlib.util.module_from_spec(spec)
    sys.modules['voc_aug'] = module  # its workers look the function up by name
    spec.loader.exec_module(module)
    out.mkdir()
    convert = partial(module.convert_mat, in_dir=str(cls), out_dir=str(out))
    names = list(scandir(str(cls), suffix='.mat'))
    if processes == 1:
        track_progress(convert, names)
    else:
        track_parallel_progress(convert, names, nproc=processes)


def main() -> None:
    """Measure, one after the other in each round."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--masks', type=int, default=600)
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--nproc', type=int, default=2)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        manifest = make_data(home, args.masks)
        cls, out = home / 'VOCaug' / 'dataset' / 'cls', home / 'out'
        devkit, aug = home / 'VOCdevkit', home / 'VOCaug'
        quiet = dict(manifest=manifest, say=lambda _: None)
        ours = partial(prepare_voc_aug, devkit, aug, out, **quiet)
        ways = {
            'plain loop': partial(plain_loop, cls, out),
            'MMSegmentation, --nproc 1 (its default)': partial(of_mmseg, cls, out, 1),
            f'MMSegmentation, --nproc {args.nproc}': partial(of_mmseg, cls, out, args.nproc),
            'this converter, --nproc 1': partial(ours, processes=1),
            f'this converter, --nproc {args.nproc}': partial(ours, processes=args.nproc),
        }
        again = f'this converter, --nproc {args.nproc}, all there already'
        seconds = {name: [] for name in [*ways, again]}
        processor = {name: [] for name in seconds}
        for _ in range(args.rounds):
            for name, run in ways.items():
                shutil.rmtree(out, ignore_errors=True)
                measure(run, seconds[name], processor[name])
            measure(ways[f'this converter, --nproc {args.nproc}'], seconds[again], processor[again])
    print(f'{args.masks} masks of {SHAPE[1]}x{SHAPE[0]}, median of {args.rounds} rounds')
    base = statistics.median(seconds['plain loop'])
    for name, values in seconds.items():
        median = statistics.median(values)
        cost = 1000 * statistics.median(processor[name]) / args.masks
        print(
            f'{name:52} {args.masks / median:6.0f} masks/s  {base / median:5.2f} x plain loop  '
            f'{cost:5.2f} ms processor time a mask'
        )


def measure(run, seconds: list[float], processor: list[float]) -> None:
    """Wall time, and the processor time of this process and its workers."""
    start, before = time.perf_counter(), sum(os.times()[:4])
    run()
    seconds.append(time.perf_counter() - start)
    processor.append(sum(os.times()[:4]) - before)


if __name__ == '__main__':
    main()
