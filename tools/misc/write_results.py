#!/usr/bin/env python
"""Write what follows from configs and results files: the metafile and the model card's tables.

python tools/misc/write_results.py
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mmseg_pan.engine import cli
from mmseg_pan.engine.metafile import METAFILE, metafile
from mmseg_pan.engine.result_tables import CARD, with_tables
from mmseg_pan.files import write_whole


def main() -> None:
    """Write."""
    write_whole(METAFILE, metafile().encode())
    write_whole(CARD, with_tables(CARD.read_text()).encode())
    print(f'Written: {METAFILE}, {CARD}')


if __name__ == '__main__':
    cli.run_tool(main)
