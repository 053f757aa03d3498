#!/usr/bin/env python
"""Export a checkpoint to ONNX, OpenVINO or a web page; both must predict the same classes.

    python tools/deployment/export.py CONFIG CHECKPOINT --format onnx --out pan.onnx
    python tools/deployment/export.py CONFIG CHECKPOINT --format openvino --shape 512 512 --out pan
    python tools/deployment/export.py CONFIG CHECKPOINT --format web --out SITE
    python tools/deployment/export.py --format web --out SITE       # the PAN in the package

The file is compared with the checkpoint before it is written: on synthetic images of two sizes,
and with --images on the config's test images. It contains class names, palette and pipeline.
SITE is a folder for any static web host: the page segments photographs in the browser.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mmseg.registry import DATASETS

from mmseg_pan import UserError, cli
from mmseg_pan.export import parity
from mmseg_pan.export.web import write_site
from mmseg_pan.export.writing import SUFFIXES, export
from mmseg_pan.inference import load_segmentor
from mmseg_pan.weights.published import SHIPPED
from mmseg_pan.weights.trust import safe_loading

WEB = 'web'


def main() -> None:
    """Export and compare."""
    parser = cli.ArgumentParser(description='Export a segmentor')
    parser.add_argument('config', nargs='?', help='default: with the PAN in the package')
    parser.add_argument('checkpoint', nargs='?', help='default: the PAN in the package')
    parser.add_argument('--out', type=Path, required=True, help='file; of a page, its folder')
    parser.add_argument('--format', choices=[*SUFFIXES, WEB], default='onnx')
    parser.add_argument(
        '--onnxruntime-web',
        type=Path,
        metavar='PATH',
        help='what runs the network of a page: .tgz or folder (default: npm fetches it)',
    )
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
    _check_options(args)
    with safe_loading():
        cfg = cli.load_config(args.config, args.cfg_options) if args.config else None
        if args.images:
            cli.check_test_set(cfg)
            cli.check_data(cfg, 'test')
        model = load_segmentor(args.checkpoint or SHIPPED, cfg, 'cpu')
        if args.format == WEB:
            out = write_site(model, args.out, args.onnxruntime_web, args.tolerance)
            print(f'Written: {out}\nTo open it: python -m http.server --directory {out}')
            return
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


def _check_options(args) -> None:
    """See that the options fit the format.

    Raises:
        UserError: Naming those that do not.
    """
    if args.config and not args.checkpoint:
        raise UserError(
            f'{args.config} needs its checkpoint; type "export.py {args.config} CHECKPOINT", or '
            'neither of them for the PAN in the package.'
        )
    if args.format != WEB and args.onnxruntime_web:
        raise UserError('--onnxruntime-web is for a page; add --format web.')
    if args.format != WEB and not args.config:
        raise UserError('Only --format web can do without CONFIG and CHECKPOINT; name both.')
    names = ('shape', 'preprocess', 'labels', 'images')
    given = [f'--{name}' for name in names if getattr(args, name)]
    if args.format == WEB and given:
        raise UserError(
            'The page decides itself what its network takes and gives; leave out '
            f'{", ".join(given)}.'
        )


if __name__ == '__main__':
    cli.run_tool(main)
