#!/usr/bin/env python
"""Train and test the runs in an experiment file, and record a line of results for each.

    python tools/run_experiments.py configs/pan/results/toy_options.yaml

Runs on record are skipped; --results work_dirs/mine.jsonl uses a separate record
instead. Stop it at any time, and type the same command to continue. The same command in a
second terminal, for other cores or another GPU, shares the runs.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import mmseg_pan  # noqa: F401  registers what configs name
from mmseg_pan import cli
from mmseg_pan.experiments.runner import run_all
from mmseg_pan.experiments.spec import read_spec


def main() -> None:
    """Run the experiments that are not done yet."""
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument('spec', type=Path, help='experiment file')
    parser.add_argument(
        '--work-dir', type=Path, help='work dir of all runs (default: work_dirs/NAME OF THE FILE)'
    )
    parser.add_argument(
        '--results', type=Path, help='.jsonl file (default: next to the experiment file)'
    )
    args = parser.parse_args()
    run_all(
        read_spec(args.spec, ROOT, args.results), args.work_dir or Path('work_dirs', args.spec.stem)
    )


if __name__ == '__main__':
    cli.run_tool(main)
