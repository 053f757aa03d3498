#!/usr/bin/env python
"""Publish a checkpoint: write a file with weights, config, classes and metrics only.

python tools/misc/publish_model.py work_dirs/pan/iter_40000.pth --out pan.safetensors
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from rich import filesize

import mmseg_pan
from mmseg_pan import cli
from mmseg_pan.weights.publishing import publish


def main() -> None:
    """Publish."""
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument('checkpoint')
    parser.add_argument(
        '--out', type=Path, required=True, help='NAME.safetensors or NAME.pth; a hash is added'
    )
    parser.add_argument('--config', help='config, if the checkpoint contains none')
    parser.add_argument('--half', action='store_true', help='float16 weights: half the size')
    parser.add_argument(
        '--metrics', nargs='*', default=[], metavar='NAME=NUMBER', help='to keep inside'
    )
    parser.add_argument(
        '--provenance', nargs='*', default=[], metavar='NAME=TEXT', help='to keep inside'
    )
    parser.add_argument('--unsafe-load', action='store_true')
    args = parser.parse_args()
    if args.out.suffix not in ('.safetensors', '.pth'):
        raise mmseg_pan.UserError(
            f'--out {args.out} must end in .safetensors or .pth; type "--out NAME.safetensors".'
        )
    try:
        metrics = {key: float(value) for key, value in (m.split('=') for m in args.metrics)}
    except ValueError:
        raise mmseg_pan.UserError(
            f'--metrics {" ".join(args.metrics)} must be NAME=NUMBER, such as "mIoU=47.5".'
        ) from None
    if wrong := [text for text in args.provenance if '=' not in text]:
        raise mmseg_pan.UserError(
            f'--provenance {wrong[0]} must be NAME=TEXT, such as "seed=0" or "data=VOC 2012".'
        )
    provenance = dict(text.split('=', 1) for text in args.provenance)
    cli.check_network(args.config)
    file = publish(
        args.checkpoint,
        args.out,
        args.half,
        args.config,
        metrics,
        provenance,
        args.unsafe_load,
    )
    print(f'Written: {file} ({filesize.decimal(file.stat().st_size)})')


if __name__ == '__main__':
    cli.run_tool(main)
