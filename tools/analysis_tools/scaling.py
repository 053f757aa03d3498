#!/usr/bin/env python
"""Plot how time grows with image size, batch, loader workers and processes.

VOC_ROOT=VOCdevkit/VOC2012 python tools/analysis_tools/scaling.py \
    configs/pan/pan_mobilenet-v2-d16_1xb8-1k_voc12aug-256x256.py \
    configs/pan/pan_r101-d16_voc.py --out scaling.png
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt
import torch
from mmengine.registry import init_default_scope

from mmseg_pan import cli
from mmseg_pan.benchmarks import scaling
from mmseg_pan.devices import device_name
from mmseg_pan.figures import check_picture, encode, write_picture
from mmseg_pan.outputs import MARK, name_output


def draw(found: dict, file: Path) -> None:
    """Draw the four measurements side by side."""
    figure, panels = plt.subplots(1, 4, figsize=(17, 4))
    for name, times in found['size']['ms'].items():
        panels[0].loglog(found['size']['side'], times, 'o-', label=name)
    panels[0].set_xticks(found['size']['side'], map(str, found['size']['side']), minor=False)
    panels[0].minorticks_off()
    panels[0].set(xlabel='side of the image, pixels', ylabel='ms an image, inference')
    for name, times in found['batch']['ms'].items():
        panels[1].plot(found['batch']['batch'], times, 'o-', label=name)
    panels[1].set(xlabel='batch', ylabel='ms an image, inference', ylim=(0, None))
    panels[2].bar([str(w) for w in found['workers']['workers']], found['workers']['samples/s'])
    panels[2].set(xlabel='loader processes (0: none)', ylabel='training samples/s')
    rates = found['processes']
    panels[3].bar([name.replace(', ', '\n') for name in rates], list(rates.values()))
    panels[3].set(ylabel='images/s, training step')
    for panel in panels[:2]:
        panel.legend()
    figure.tight_layout()
    figure.set_dpi(110)
    write_picture(encode(figure, file.suffix[1:]), file)


def main() -> None:
    """Measure, draw, and write the numbers next to the plot."""
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument('configs', nargs='+', help='the first one also for training')
    parser.add_argument(
        '--out',
        type=Path,
        required=True,
        help='plot to write; the numbers go to a .json file next to it',
    )
    parser.add_argument(
        '--sides', nargs='+', type=cli.whole_number(1), default=[256, 512, 1024, 2048]
    )
    parser.add_argument('--batches', nargs='+', type=cli.whole_number(1), default=[1, 2, 4, 8])
    parser.add_argument('--workers', nargs='+', type=cli.whole_number(0), default=[0, 1, 2])
    parser.add_argument(
        '--samples',
        type=cli.whole_number(1),
        default=400,
        help='number of samples to load for each loader',
    )
    parser.add_argument('--rounds', type=cli.whole_number(1), default=3)
    args = parser.parse_args()
    check_picture(args.out)
    numbers = name_output(args.out.with_suffix('.json'))
    init_default_scope('mmseg')
    torch.manual_seed(0)
    configs = dict(zip(_labels(args.configs), map(cli.load_config, args.configs), strict=True))
    for cfg in configs.values():
        cli.check_entries(cfg, 'model', 'train_dataloader')
    first = next(iter(configs.values()))
    cli.check_data(first, 'train')
    sizes = scaling.time_by_size(configs, args.sides, args.rounds)
    batches = scaling.by_batch(configs, args.batches, 256, args.rounds)
    found = dict(
        file=MARK,
        machine=f'{device_name()}, torch {torch.__version__}',
        size=dict(side=args.sides, ms=_milliseconds(sizes)),
        batch=dict(batch=args.batches, ms=_milliseconds(batches)),
        workers={
            'workers': args.workers,
            'samples/s': scaling.by_workers(first, args.workers, args.samples),
        },
        processes=scaling.by_processes(first, max(args.batches), 256, args.rounds),
    )
    write_picture((json.dumps(found, indent=1) + '\n').encode(), numbers)
    draw(found, args.out)
    print(json.dumps(found, indent=1))


def _labels(configs: list[str]) -> list[str]:
    """Backbones such as 'r18-d16' if they distinguish the configs; otherwise full names."""
    stems = [Path(name).stem for name in configs]
    backbones = {stem.split('_')[1] for stem in stems if '_' in stem}
    return [stem.split('_')[1] for stem in stems] if len(backbones) == len(stems) else stems


def _milliseconds(times: dict[str, list[float]]) -> dict[str, list[float]]:
    return {name: [round(1e3 * seconds, 1) for seconds in row] for name, row in times.items()}


if __name__ == '__main__':
    cli.run_tool(main)
