#!/usr/bin/env python
"""Write configs/pan/metafile.yaml from the configs and the results files.

python tools/misc/write_metafile.py
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mmseg_pan.engine import cli
from mmseg_pan.engine.metafile import METAFILE, metafile
from mmseg_pan.files import write_whole


def main() -> None:
    """Write."""
    write_whole(METAFILE, metafile().encode())
    print(f'Written: {METAFILE}')


if __name__ == '__main__':
    cli.run_tool(main)
