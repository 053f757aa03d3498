#!/usr/bin/env python
"""Compare exported networks with their checkpoint on the test images: classes, mIoU, speed.

python tools/deployment/parity.py CONFIG CHECKPOINT pan.onnx pan.xml pan-int8.xml
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
from mmseg.registry import DATASETS

from mmseg_pan import cli
from mmseg_pan.devices import device_name
from mmseg_pan.export import parity
from mmseg_pan.inference import load_segmentor
from mmseg_pan.weights.exported import ExportedSegmentor
from mmseg_pan.weights.fit import check_class_names
from mmseg_pan.weights.trust import safe_loading


def main() -> None:
    """Compare and print a Markdown table."""
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument('config')
    parser.add_argument('checkpoint')
    parser.add_argument('files', nargs='+', help='.onnx or .xml')
    parser.add_argument('--images', type=cli.whole_number(0), default=0, help='0: all')
    parser.add_argument('--precision', default='float32', choices=['float32', 'bfloat16'])
    parser.add_argument('--cfg-options', nargs='+', action=cli.ConfigOptions)
    args = parser.parse_args()
    with safe_loading():
        cfg = cli.load_config(args.config, args.cfg_options)
        cli.check_test_set(cfg)
        cli.check_data(cfg, 'test')
        reference = load_segmentor(args.checkpoint, cfg)
        others = {Path(file).name: ExportedSegmentor(file, args.precision) for file in args.files}
        for file, other in others.items():
            classes = reference.dataset_meta['classes']
            check_class_names(other.dataset_meta['classes'], classes, file)
        dataset = DATASETS.build(cfg.test_dataloader.dataset)
        rows = parity.compare_networks(reference, others, dataset, args.images)
        print(
            f'{device_name()}, torch {torch.__version__}, {args.images or len(dataset)} images, '
            f'{args.precision}, batch 1, image by image in turns\n'
        )
        print(parity.parity_table(rows))


if __name__ == '__main__':
    cli.run_tool(main)
