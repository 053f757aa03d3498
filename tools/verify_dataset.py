#!/usr/bin/env python
"""Find errors in a data set before training.

python tools/verify_dataset.py configs/pan/pan_r101-d16_voc.py
python tools/verify_dataset.py data/VOCdevkit/VOC2012 --json faults.json --plot classes.png
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmseg_pan.cli import ArgumentParser, check_datasets, run_tool, whole_number
from mmseg_pan.figures import check_picture
from mmseg_pan.files import disk_errors_explained
from mmseg_pan.fonts import missing_letters
from mmseg_pan.outputs import name_output
from mmseg_pan.verification.findings import (
    fault_table,
    frequency_table,
    summary,
    write_json,
    write_plot,
)
from mmseg_pan.verification.verify import verify


def main() -> int:
    """Read the command line, verify, print; 1 where training would break or be biased."""
    parser = ArgumentParser(
        description='Check every image and mask of a data set. Exit code 1: a fault would '
        'break or bias training.'
    )
    parser.add_argument('target', metavar='CONFIG|ROOT', help='config file, or VOCdevkit/VOC2012')
    parser.add_argument('--json', type=Path, metavar='FILE', help='write all findings there')
    parser.add_argument(
        '--plot', type=Path, metavar='FILE', help='draw the class frequencies there (png, pdf, svg)'
    )
    parser.add_argument(
        '--nproc', type=whole_number(1), help='worker processes (default: all cores)'
    )
    args = parser.parse_args()
    if args.json:
        name_output(args.json, option='--json')
    if args.plot:
        check_picture(args.plot, option='--plot')
    if Path(args.target).is_file():
        check_datasets(args.target)
    result = verify(args.target, args.nproc)
    print(frequency_table(result))
    if result.faults:
        print(fault_table(result))
    print(summary(result))
    for path, write in ((args.json, write_json), (args.plot, write_plot)):
        if path:
            with disk_errors_explained(path.parent):
                path.parent.mkdir(parents=True, exist_ok=True)
                write(result, path)
    if args.plot and (note := missing_letters(result.classes)):
        print(note)
    return 1 if result.harmful else 0


if __name__ == '__main__':
    run_tool(main)
