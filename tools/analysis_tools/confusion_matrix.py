#!/usr/bin/env python
"""Draw the confusion matrix of label maps that tools/test.py --out wrote.

python tools/analysis_tools/confusion_matrix.py configs/pan/pan_r101-d16_voc.py maps \
    --out confusion.png --normalize
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mmseg.registry import DATASETS

from mmseg_pan import cli
from mmseg_pan.cli import ConfigOptions, load_config, run_tool
from mmseg_pan.errors import UserError
from mmseg_pan.evaluation.confusion import confusions, mean_iou
from mmseg_pan.evaluation.labelled import LabelledImages
from mmseg_pan.figures import check_picture, write_picture
from mmseg_pan.fonts import missing_letters
from mmseg_pan.reports.plots import draw_confusion


def main() -> None:
    """Read the command line and draw."""
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file; its test data set has the labels')
    parser.add_argument(
        'predictions', type=Path, metavar='PREDICTIONS_DIR', help='label maps of tools/test.py'
    )
    parser.add_argument('--out', type=Path, required=True, metavar='FILE', help='picture to write')
    parser.add_argument(
        '--normalize',
        action='store_true',
        help='show per cent of each true class instead of pixels',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=ConfigOptions,
        metavar='KEY=VALUE',
        help='change the config, for example test_dataloader.dataset.data_root=DIR',
    )
    args = parser.parse_args()
    check_picture(args.out)
    cfg = load_config(args.config, args.cfg_options)
    cli.check_test_set(cfg)
    if not args.predictions.is_dir():
        raise UserError(
            f'The folder {args.predictions} does not exist; write label maps into it with '
            f'"tools/test.py {args.config} CHECKPOINT --out {args.predictions}".'
        )
    cli.check_data(cfg, 'test')
    dataset = LabelledImages(DATASETS.build(cfg.test_dataloader.dataset), 'A confusion matrix')
    matrix, classes = confusions(dataset, args.predictions).sum(0), dataset.metainfo['classes']
    kind = args.out.suffix[1:]
    write_picture(draw_confusion(matrix, classes, args.normalize, kind), args.out)
    if note := missing_letters(classes):
        print(note)
    print(f'{args.out}: {len(dataset)} images, mIoU {mean_iou(matrix, classes):.2f}')


if __name__ == '__main__':
    run_tool(main)
