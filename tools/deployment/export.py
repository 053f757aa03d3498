#!/usr/bin/env python
"""Export a checkpoint to ONNX or OpenVINO, and compare the result on photographs.

    python tools/deployment/export.py CONFIG CHECKPOINT --format onnx --out pan.onnx
    python tools/deployment/export.py CONFIG CHECKPOINT --format openvino --shape 512 512 --out pan

The class names, the palette and the pipeline of the config travel inside the file.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mmseg.registry import DATASETS

from mmseg_pan import cli
from mmseg_pan.export import parity
from mmseg_pan.export.writing import SUFFIXES, export
from mmseg_pan.inference import load_segmentor
from mmseg_pan.weights.exported import ExportedSegmentor
from mmseg_pan.weights.trust import safe_loading


def main() -> None:
    """Export, then run both networks on images of the config's test set."""
    parser = argparse.ArgumentParser(description='Export a segmentor')
    parser.add_argument('config')
    parser.add_argument('checkpoint')
    parser.add_argument('--out', type=Path, required=True, metavar='FILE')
    parser.add_argument('--format', choices=list(SUFFIXES), default='onnx')
    parser.add_argument(
        '--shape', nargs=2, type=int, metavar=('H', 'W'), help='fixed size; default: any'
    )
    parser.add_argument('--preprocess', action='store_true', help='normalise inside the file')
    parser.add_argument('--labels', action='store_true', help='class ids instead of logits')
    parser.add_argument('--images', type=int, default=10, help='that are compared; 0: none')
    parser.add_argument(
        '--tolerance', type=float, default=1e-3, help='share of pixels that may change class'
    )
    parser.add_argument('--cfg-options', nargs='+', action=cli.ConfigOptions)
    args = parser.parse_args()
    with safe_loading():
        cfg = cli.load_config(args.config, args.cfg_options)
        if args.images and not args.labels:
            cli.check_data(cfg, 'test')
        model = load_segmentor(args.checkpoint, args.config)
        reference = load_segmentor(args.checkpoint, args.config)
        shape = tuple(args.shape) if args.shape else None
        file = export(model, args.out, args.format, shape, args.preprocess, args.labels)
        print(f'Written: {file}')
        if not args.images or args.labels:
            print("Not compared: only logits of the config's test images are.")
            return
        dataset = DATASETS.build(cfg.test_dataloader.dataset)
        rows = parity.compare_networks(
            reference, {file.name: ExportedSegmentor(str(file))}, dataset, args.images
        )
        print(parity.parity_table(rows))
        if shape is None:  # a fixed size changes what the network sees
            parity.check_same(rows, file.name, args.tolerance)


if __name__ == '__main__':
    cli.run_tool(main)
