#!/usr/bin/env python
"""Pack predictions on VOC's test list for the evaluation server.

python tools/test.py configs/pan/pan_r101-d16_voc_test-server.py CHECKPOINT --out predictions
python tools/voc_server_archive.py predictions --out results.tgz
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmseg_pan import cli
from mmseg_pan.errors import UserError
from mmseg_pan.outputs import name_output
from mmseg_pan.voc.server import write_archive


def main() -> None:
    """Check and pack."""
    parser = cli.ArgumentParser(description='Pack predictions for the VOC server')
    parser.add_argument('predictions', type=Path, help='folder that tools/test.py --out wrote')
    parser.add_argument('--out', type=Path, default=Path('results.tgz'))
    parser.add_argument(
        '--root',
        type=Path,
        default=Path(os.environ.get('VOC_ROOT', 'data/VOCdevkit/VOC2012')),
        help='VOC2012 folder (default: VOC_ROOT, else data/VOCdevkit/VOC2012)',
    )
    parser.add_argument('--list', default='test', help='name in ImageSets/Segmentation')
    args = parser.parse_args()
    names = args.root / 'ImageSets' / 'Segmentation' / f'{args.list}.txt'
    for path in (args.predictions, names):
        if not path.exists():
            raise UserError(f'{path} does not exist; give the predictions and --root VOC2012.')
    out = name_output(args.out, '.tgz', '.tar.gz')
    ids = names.read_text().split()
    write_archive(args.predictions, args.root, ids, out)
    print(f'{out}: {len(ids)} maps, names, sizes and ids checked')


if __name__ == '__main__':
    cli.run_tool(main)
