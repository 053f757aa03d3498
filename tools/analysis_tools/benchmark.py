#!/usr/bin/env python
"""Cost of a model's backbone and head, beside others, in one run.

    python tools/analysis_tools/benchmark.py CONFIG --vs OTHER_CONFIG ANOTHER_CONFIG

The models take turns within every round: read the ratios, not the milliseconds.
"""

import argparse
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
from mmengine.registry import init_default_scope

from mmseg_pan.engine import cli
from mmseg_pan.engine.summary import device_name
from mmseg_pan.evaluation.complexity import count_cost
from mmseg_pan.evaluation.timing import spread, time_parts


def main() -> None:
    """Measure and print one Markdown table."""
    parser = argparse.ArgumentParser(description='Cost of backbone and head, in one run')
    parser.add_argument('config')
    parser.add_argument('--vs', nargs='*', default=[], metavar='CONFIG', help='the others')
    parser.add_argument('--shape', nargs=2, type=int, default=(512, 512), metavar=('H', 'W'))
    parser.add_argument('--rounds', type=int, default=10)
    args = parser.parse_args()
    init_default_scope('mmseg')
    models = {Path(p).stem: cli.load_config(p).model for p in (args.config, *args.vs)}
    times = time_parts(models, *args.shape, args.rounds)
    print(
        f'{device_name()}, torch {torch.__version__}, {args.shape[1]}x{args.shape[0]}, batch 1, '
        f'eager float32, median (quartiles) of {args.rounds} interleaved rounds\n\n'
        '| config | head G multiply-adds | head M parameters | head ms | backbone ms '
        '| head / backbone | whole / first |\n| --- | --- | --- | --- | --- | --- | --- |'
    )
    first = None
    for name, cfg in models.items():
        cost = count_cost(cfg, *args.shape)['decode_head']
        head, backbone = (times[name][part] for part in ('decode_head', 'backbone'))
        whole = statistics.median(a + b for a, b in zip(head, backbone, strict=True))
        first = first or whole
        ratio = statistics.median(head) / statistics.median(backbone)
        print(
            f'| {name} | {cost.multiply_adds / 1e9:.2f} | {cost.parameters / 1e6:.2f} '
            f'| {spread(head)} | {spread(backbone)} | {ratio:.2f} | {whole / first:.2f} |'
        )


if __name__ == '__main__':
    cli.run_tool(main)
