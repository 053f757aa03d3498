#!/usr/bin/env python
"""Write pictures of what the network sees: image next to mask, after augmentation.

python tools/analysis_tools/browse_dataset.py configs/pan/pan_r101-d16_voc.py
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mmseg_pan.cli import ArgumentParser, ConfigOptions, load_config, run_tool, whole_number
from mmseg_pan.files import disk_errors_explained
from mmseg_pan.verification.browsing import browse


def main() -> None:
    """Read the command line and write the pictures."""
    parser = ArgumentParser(description='Write pictures of what the network sees')
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--output-dir',
        metavar='DIR',
        help='where the pictures go (default: work_dirs/<config>/browse)',
    )
    parser.add_argument('--number', type=whole_number(1), default=20, help='how many (default: 20)')
    parser.add_argument('--split', choices=['train', 'val', 'test'], default='train')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=ConfigOptions,
        metavar='KEY=VALUE',
        help='change the config, for example randomness.seed=1',
    )
    args = parser.parse_args()
    config = load_config(args.config, args.cfg_options)
    folder = Path(args.output_dir or Path(config.work_dir) / 'browse')
    with disk_errors_explained(folder):
        count = sum(1 for _ in browse(config, folder, args.number, args.split))
    print(f'{count} pictures in {folder}')


if __name__ == '__main__':
    run_tool(main)
