#!/usr/bin/env python
"""Multiply-adds and parameters of a config's model, for one image.

    python tools/analysis_tools/get_flops.py configs/pan/pan_r101-d16_voc.py --shape 512 512

Convolutions and matrix products are counted, one multiply-add each, as papers do; papers
that write FLOPs for multiply-adds mean the same number.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mmengine.registry import init_default_scope

from mmseg_pan import cli
from mmseg_pan.benchmarks.complexity import count_cost


def main() -> None:
    """Count and print one line for each part."""
    parser = cli.ArgumentParser(description='Multiply-adds and parameters of a model')
    parser.add_argument('config')
    parser.add_argument(
        '--shape', nargs=2, type=cli.whole_number(1), default=(512, 512), metavar=('H', 'W')
    )
    args = parser.parse_args()
    cfg = cli.load_config(args.config)
    cli.check_entries(cfg, 'model')
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    print(f'{Path(args.config).stem}, one image of {args.shape[1]}x{args.shape[0]}')
    for part, cost in count_cost(cfg.model, *args.shape).items():
        print(
            f'{part:<12} {cost.multiply_adds / 1e9:8.2f} G multiply-adds '
            f'{cost.parameters / 1e6:8.2f} M parameters'
        )


if __name__ == '__main__':
    cli.run_tool(main)
