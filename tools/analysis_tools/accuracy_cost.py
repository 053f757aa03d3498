#!/usr/bin/env python
"""Plot accuracy over multiply-adds and time for the networks of an experiment file.

python tools/analysis_tools/accuracy_cost.py configs/pan/results/voc_heads.yaml --out cost.png
"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import torch
from mmengine.registry import init_default_scope

from mmseg_pan import cli
from mmseg_pan.devices import device_name
from mmseg_pan.experiments.accuracy_cost import accuracy_over_cost
from mmseg_pan.experiments.spec import read_spec
from mmseg_pan.figures import check_picture, write_picture
from mmseg_pan.outputs import MARK, name_output
from mmseg_pan.reports.plots import draw_accuracy_cost


def main() -> None:
    """Measure, draw, and write the numbers next to the plot."""
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument('spec', type=Path, help='YAML file whose runs have results')
    parser.add_argument(
        '--out',
        type=Path,
        required=True,
        help='plot to write; the numbers go to a .json file next to it',
    )
    parser.add_argument('--mean', default='mIoU_nine', help='of the results (default: %(default)s)')
    parser.add_argument(
        '--shape', nargs=2, type=cli.whole_number(1), default=(256, 256), metavar=('H', 'W')
    )
    parser.add_argument('--rounds', type=cli.whole_number(1), default=11)
    args = parser.parse_args()
    check_picture(args.out)
    numbers = name_output(args.out.with_suffix('.json'), inputs=[args.spec])
    init_default_scope('mmseg')
    torch.manual_seed(0)
    points = accuracy_over_cost(
        read_spec(args.spec, ROOT), args.mean, tuple(args.shape), args.rounds
    )
    found = dict(
        file=MARK,
        machine=f'{device_name()}, torch {torch.__version__}',
        shape=list(args.shape),
        rounds=args.rounds,
        mean=args.mean,
        networks=points,
    )
    write_picture((json.dumps(found, indent=1) + '\n').encode(), numbers)
    write_picture(draw_accuracy_cost(points, args.mean, args.out.suffix[1:]), args.out)
    print(f'Written: {args.out}, {numbers}')


if __name__ == '__main__':
    cli.run_tool(main)
