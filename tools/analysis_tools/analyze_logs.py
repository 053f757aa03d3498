#!/usr/bin/env python
"""Draw the training curves of one or several runs.

python tools/analysis_tools/analyze_logs.py work_dirs/pan_r101-d16_voc --out curves.png
"""

import sys
from difflib import get_close_matches
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mmseg_pan.cli import ArgumentParser, run_tool
from mmseg_pan.errors import UserError
from mmseg_pan.figures import check_picture, write_picture
from mmseg_pan.fonts import missing_letters
from mmseg_pan.reports.plots import draw_curves
from mmseg_pan.reports.training_logs import curve, log_files, read_rows


def read_curves(path: Path, keys: list[str]) -> dict[str, tuple[list, list]]:
    """Read what a run logged under some keys.

    Raises:
        UserError: If there is no log or it has no such key.
    """
    rows = read_rows(path)
    if not rows:
        raise UserError(
            f'{path} {"contains no training log" if path.exists() else "does not exist"}; give '
            'a work dir of tools/train.py, or a vis_data/scalars.json in one.'
        )
    found = {key: curve(rows, key) for key in keys}
    for key, (steps, _) in found.items():
        if not steps:
            known = sorted(
                {k for row in rows for k, v in row.items() if isinstance(v, int | float)}
            )
            close = get_close_matches(key, known, n=1)
            hint = f' (did you mean {close[0]}?)' if close else ''
            raise UserError(
                f'The log of {path} has no "{key}"{hint}; choose --keys from {", ".join(known)}.'
            )
    return found


def main() -> None:
    """Read the command line and draw."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('logs', nargs='+', type=Path, metavar='LOG_OR_WORK_DIR')
    parser.add_argument('--keys', nargs='+', default=['loss'], help='what to draw (default: loss)')
    parser.add_argument('--legend', nargs='+', metavar='NAME', help='a name for each run')
    parser.add_argument('--out', type=Path, required=True, metavar='FILE', help='picture to write')
    args = parser.parse_args()
    names = args.legend or [str(path) for path in args.logs]
    if not len(set(names)) == len(names) == len(args.logs):
        raise UserError(
            f'There are {len(args.logs)} runs but {len(set(names))} different names for them; '
            'give each run once, and --legend one name for each.'
        )
    check_picture(args.out, [file for path in args.logs for file in log_files(path)])
    runs = {name: read_curves(path, args.keys) for name, path in zip(names, args.logs, strict=True)}
    write_picture(draw_curves(runs, kind=args.out.suffix[1:]), args.out)
    if note := missing_letters(names):
        print(note)
    print(args.out)


if __name__ == '__main__':
    run_tool(main)
