#!/usr/bin/env python
"""Write the metafile and the tables in the documentation from configs and results.

python tools/misc/write_results.py
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from mmseg_pan import cli
from mmseg_pan.experiments.card import with_tables
from mmseg_pan.experiments.metafile import metafile
from mmseg_pan.experiments.pages import with_cells
from mmseg_pan.files import write_whole


def main() -> None:
    """Write."""
    cli.ArgumentParser(description=__doc__).parse_args()
    folder = ROOT / 'configs' / 'pan'
    card, listing = folder / 'README.md', folder / 'metafile.yaml'
    write_whole(listing, metafile(ROOT).encode())
    text = with_tables(card.read_text(), folder / 'results')
    write_whole(card, with_cells(text, ROOT).encode())
    pages = [ROOT / name for name in ('README.md', 'README_zh-CN.md', 'docs/speed.md')]
    for page in pages:
        write_whole(page, with_cells(page.read_text(), ROOT).encode())
    print('Written:', *(str(path.relative_to(ROOT)) for path in (listing, card, *pages)))


if __name__ == '__main__':
    cli.run_tool(main)
