#!/usr/bin/env python
"""Make the toy data set that the README's first command trains on.

python tools/dataset_converters/toy_shapes.py [data/toy_shapes]
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mmseg_pan import cli
from mmseg_pan.datasets.toy import make_toy_shapes


def main() -> None:
    """Make the toy data set, unless it exists."""
    parser = cli.ArgumentParser(description='Make the toy data set')
    parser.add_argument('root', nargs='?', default='data/toy_shapes', help='folder to make')
    parser.add_argument('--train', type=cli.whole_number(1), default=1000, help='training images')
    parser.add_argument('--val', type=cli.whole_number(1), default=100, help='validation images')
    parser.add_argument('--size', type=cli.whole_number(1), default=128, help='side in pixels')
    parser.add_argument('--seed', type=cli.whole_number(0), default=0)
    args = vars(parser.parse_args())
    made = make_toy_shapes(**args)
    print(f'{"Made" if made else "Already exists:"} {args["root"]}')


if __name__ == '__main__':
    cli.run_tool(main)
