#!/usr/bin/env python
"""Convert annotations of LabelMe, COCO, Label Studio or mask folders to a data set to train on.

python tools/dataset_converters/annotations.py SOURCE --out DATA
python tools/train.py DATA/config.py --work-dir RUN
"""

import argparse
import re
import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mmseg_pan.annotations.convert_annotations import Options, convert_annotations
from mmseg_pan.annotations.recognition import FORMATS
from mmseg_pan.cli import ArgumentParser, run_tool, share, whole_number


def expression(text: str) -> re.Pattern:
    """A regular expression for argparse."""
    try:
        return re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f'{text!r} is no regular expression ({error})') from None


def main() -> None:
    """Read the command line and convert."""
    parser = ArgumentParser(description='Convert annotations to a data set to train on')
    parser.add_argument('source', type=Path, help='folder of annotations, or a JSON file')
    parser.add_argument(
        '--out',
        type=Path,
        required=True,
        metavar='DATA',
        help='output folder: config.py, images/{train,val}, masks/{train,val}',
    )
    parser.add_argument('--format', choices=FORMATS, help='format of the source (default: found)')
    parser.add_argument(
        '--labels',
        type=Path,
        metavar='FILE',
        help='class names in the order of their ids, one a line; for masks with their values or '
        'colours: "value,name" or "name,r,g,b" (default: labels.txt in the source)',
    )
    parser.add_argument(
        '--unlabelled',
        choices=('background', 'ignore'),
        default='background',
        help='what areas without a label are (default: background)',
    )
    parser.add_argument(
        '--val-share',
        type=partial(share, ends=False),
        default=0.2,
        help='share of the images for validation, unless the source divides them (default: 0.2)',
    )
    parser.add_argument(
        '--group',
        type=expression,
        metavar='REGEX',
        help='images for which it finds the same text in their names (its first group, if it has '
        'one) stay together: "^[^_]+" for VIDEO_FRAME.jpg',
    )
    parser.add_argument(
        '--network',
        choices=('auto', 'small', 'large'),
        default='auto',
        help='MobileNetV2 or ResNet-50 (default: ResNet-50 where there is a GPU)',
    )
    parser.add_argument(
        '--nproc', type=whole_number(1), help='worker processes (default: all cores)'
    )
    args = parser.parse_args()
    options = Options(
        args.format,
        args.labels,
        args.unlabelled,
        args.val_share,
        args.group,
        args.network,
        args.nproc,
    )
    convert_annotations(args.source, args.out, options)


if __name__ == '__main__':
    run_tool(main)
