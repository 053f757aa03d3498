#!/usr/bin/env python
"""Export a checkpoint to ONNX or OpenVINO, and check that both predict the same classes.

    python tools/deployment/export.py CONFIG CHECKPOINT --format onnx --out pan.onnx
    python tools/deployment/export.py CONFIG CHECKPOINT --format openvino --shape 512 512 --out pan

The file is compared with the checkpoint before it is written: on synthetic images of two sizes,
and with --images on the config's test images. It contains class names, palette and pipeline.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mmseg.registry import DATASETS

from mmseg_pan import cli
from mmseg_pan.export import parity
from mmseg_pan.export.writing import SUFFIXES, export
from mmseg_pan.inference import load_segmentor
from mmseg_pan.weights.trust import safe_loading


def main() -> None:
    """Export and compare."""
    parser = cli.ArgumentParser(description='Export a segmentor')
    parser.add_argument('config')
    parser.add_argument('checkpoint')
    parser.add_argument('--out', type=Path, required=True, metavar='FILE')
    parser.add_argument('--format', choices=list(SUFFIXES), default='onnx')
    parser.add_argument(
        '--shape',
        nargs=2,
        type=cli.whole_number(1),
        metavar=('H', 'W'),
        help='fixed input size (default: any)',
    )
    parser.add_argument(
        '--preprocess', action='store_true', help='include normalisation in the network'
    )
    parser.add_argument('--labels', action='store_true', help='output class ids instead of logits')
    parser.add_argument(
        '--images',
        type=cli.whole_number(0),
        default=0,
        help="also compare this many images of the config's test set (default: none)",
    )
    parser.add_argument(
        '--tolerance',
        type=cli.share,
        default=1e-3,
        help='share of pixels whose class may change (default: %(default)s)',
    )
    parser.add_argument('--cfg-options', nargs='+', action=cli.ConfigOptions)
    args = parser.parse_args()
    with safe_loading():
        cfg = cli.load_config(args.config, args.cfg_options)
        if args.images:
            cli.check_test_set(cfg)
            cli.check_data(cfg, 'test')
        model = load_segmentor(args.checkpoint, cfg, 'cpu')
        shape = tuple(args.shape) if args.shape else None

        def compare(file: Path) -> None:
            dataset = DATASETS.build(cfg.test_dataloader.dataset)
            print(parity.compare_export(model, file, dataset, args.images, args.tolerance))

        file = export(
            model,
            args.out,
            args.format,
            shape,
            args.preprocess,
            args.labels,
            args.tolerance,
            compare if args.images else None,
        )
        print(f'Written: {file}')


if __name__ == '__main__':
    cli.run_tool(main)
