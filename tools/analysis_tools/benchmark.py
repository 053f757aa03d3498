#!/usr/bin/env python
"""Compare time, memory and cost of models in one run.

    python tools/analysis_tools/benchmark.py CONFIG --vs OTHER_CONFIG smp:PAN:resnet101:16
    python tools/analysis_tools/benchmark.py CONFIG --train --batch 8 --channels-last --bfloat16

The models take turns within every round: compare the ratios, not the milliseconds.
"""

import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
from mmengine.registry import init_default_scope

from mmseg_pan import cli
from mmseg_pan.benchmarks import comparison
from mmseg_pan.benchmarks.contenders import Contender, from_config, from_smp
from mmseg_pan.devices import device_name


def open_contender(name: str) -> Contender:
    """Build the model that a name on the command line stands for."""
    if name.startswith('smp:'):
        return from_smp(name)
    cfg = cli.load_config(name)
    cli.check_entries(cfg, 'model')
    return from_config(Path(name).stem, cfg.model)


def main() -> None:
    """Measure and print one Markdown table."""
    parser = cli.ArgumentParser(description='Compare models in one run')
    parser.add_argument('config')
    parser.add_argument(
        '--vs',
        nargs='*',
        default=[],
        metavar='MODEL',
        help='models to compare with: configs, or smp:ARCHITECTURE:ENCODER:OUTPUT_STRIDE',
    )
    parser.add_argument(
        '--shape', nargs=2, type=cli.whole_number(1), default=(512, 512), metavar=('H', 'W')
    )
    parser.add_argument('--batch', type=cli.whole_number(1), default=1)
    parser.add_argument('--rounds', type=cli.whole_number(1), default=10)
    parser.add_argument(
        '--train', action='store_true', help='measure a training step instead of inference'
    )
    for option, text in comparison.OPTIONS.items():
        parser.add_argument(f'--{option}', action='store_true', help=f'measure it {text} as well')
    args = parser.parse_args()
    init_default_scope('mmseg')
    torch.manual_seed(0)
    options = [o for o in comparison.OPTIONS if vars(args)[o.replace('-', '_')]]
    models = [partial(open_contender, name) for name in (args.config, *args.vs)]
    rows, limits = comparison.compare_contenders(
        models, args.shape, args.batch, args.rounds, args.train, comparison.variants(options)
    )
    what = 'training step' if args.train else 'inference'
    print(
        f'{device_name()}, torch {torch.__version__}, {what}, {args.shape[1]}x{args.shape[0]}, '
        f'batch {args.batch}, median (quartiles) of {args.rounds} interleaved rounds\n'
        f'In the same run: {comparison.describe_limits(limits)}\n'
    )
    print(comparison.contender_table(rows))


if __name__ == '__main__':
    cli.run_tool(main)
