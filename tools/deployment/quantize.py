#!/usr/bin/env python
"""Quantize an OpenVINO network to INT8, calibrated on training images.

python tools/deployment/quantize.py CONFIG pan.xml --out pan-int8.xml
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mmseg.registry import DATASETS

from mmseg_pan import cli
from mmseg_pan.configs.contents import find_test_pipeline
from mmseg_pan.export.quantize import FLOAT_LAYERS, quantize
from mmseg_pan.weights.exported import open_exported
from mmseg_pan.weights.fit import check_class_names


def main() -> None:
    """Quantize."""
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config with the training images and the test pipeline')
    parser.add_argument('file', type=Path, help='.xml file written by tools/deployment/export.py')
    parser.add_argument('--out', type=Path, required=True, metavar='FILE')
    parser.add_argument('--images', type=cli.whole_number(1), default=300)
    parser.add_argument(
        '--float-layers',
        type=cli.whole_number(0),
        default=FLOAT_LAYERS,
        help='keep the first N convolutions in float32 (default: %(default)s)',
    )
    parser.add_argument('--cfg-options', nargs='+', action=cli.ConfigOptions)
    args = parser.parse_args()
    cfg = cli.load_config(args.config, args.cfg_options)
    cli.check_entries(cfg, 'train_dataloader')
    cli.use_test_pipeline(cfg.train_dataloader.dataset, find_test_pipeline(cfg, args.config))
    cli.check_data(cfg, 'train')
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    classes = open_exported(args.file)[1].classes
    check_class_names(classes, dataset.metainfo['classes'], str(args.file))
    written = quantize(args.file, dataset, args.out, args.images, args.float_layers)
    print(f'Written: {written}')


if __name__ == '__main__':
    cli.run_tool(main)
