#!/usr/bin/env python
"""Train PAN and an FCN baseline on the toy shapes, and compare them.

    python tools/demo.py

Runs the experiments of configs/pan/results/quickstart.yaml and writes a table, loss curves
and pictures. Finished runs are kept: a second call only prints the table.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from mmseg_pan import cli
from mmseg_pan.experiments.demonstration import run_demonstration


def main() -> None:
    """Run the demonstration."""
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument('--data', type=Path, default=ROOT / 'data' / 'toy_shapes')
    parser.add_argument('--out', type=Path, default=ROOT / 'work_dirs' / 'demo')
    parser.add_argument('--cfg-options', nargs='+', action=cli.ConfigOptions, default={})
    args = parser.parse_args()
    run_demonstration(ROOT, args.data, args.out, args.cfg_options)


if __name__ == '__main__':
    cli.run_tool(main)
