#!/usr/bin/env python
"""Segment images and videos.

python tools/predict.py photo.jpg --out predictions
python tools/predict.py photos --checkpoint iter_40000.pth --out predictions
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmseg_pan.cli import ArgumentParser, check_network, run_tool, whole_number
from mmseg_pan.devices import check_device
from mmseg_pan.evaluation.fast_inference import prepare_for_inference
from mmseg_pan.fonts import missing_letters
from mmseg_pan.inference import load_segmentor
from mmseg_pan.inference.pictures import KINDS, Painter
from mmseg_pan.inference.prediction import predict_sources
from mmseg_pan.inference.predictor import SMALLEST_WINDOW, WINDOW, Predictor
from mmseg_pan.inference.sources import find_sources
from mmseg_pan.weights.published import SHIPPED


def main() -> int:
    """Predict; returns 1 if a file was skipped."""
    parser = ArgumentParser(
        description='Segment images and videos. Unreadable files are reported and skipped; '
        'the exit code is then 1.'
    )
    parser.add_argument(
        'inputs',
        nargs='+',
        metavar='INPUT',
        help='image, video, folder (searched recursively) or quoted glob pattern',
    )
    parser.add_argument(
        '--checkpoint',
        default=SHIPPED,
        metavar='FILE',
        help='trained weights (default: the PAN in the package, trained on '
        "VOC's classes with photographs of mostly animals and people)",
    )
    parser.add_argument(
        '--config', metavar='FILE', help='config (default: the one in the checkpoint)'
    )
    parser.add_argument('--out', type=Path, required=True, metavar='DIR', help='output folder')
    parser.add_argument(
        '--format',
        choices=KINDS,
        default=KINDS[0],
        help='image with classes and legend, classes in colour, or class ids (default: overlay)',
    )
    parser.add_argument(
        '--batch',
        type=whole_number(1),
        default=1,
        metavar='N',
        help='images per batch (default: 1)',
    )
    parser.add_argument(
        '--window',
        type=whole_number(SMALLEST_WINDOW),
        default=WINDOW,
        metavar='SIDE',
        help='images with a longer side after the test pipeline are processed in '
        'overlapping windows of SIDE pixels (default: %(default)s)',
    )
    parser.add_argument('--device', help='torch device (default: the GPU, if there is one)')
    parser.add_argument(
        '--unsafe-load',
        action='store_true',
        help='allow the checkpoint to run code; only if you trust its source',
    )
    args = parser.parse_args()
    sources = find_sources(args.inputs, args.out, args.format)
    check_device(args.device)
    cfg = check_network(args.config)
    model = load_segmentor(args.checkpoint, cfg, args.device, args.unsafe_load)
    prepare_for_inference(model, labels_only=True)
    painter = Painter(model.dataset_meta, args.format)
    if args.format == 'overlay' and (note := missing_letters(painter.classes)):
        print(note)
    tally = predict_sources(Predictor(model, args.window, args.batch), painter, sources, args.out)
    skipped = f', {tally.skipped} skipped' if tally.skipped else ''
    print(f'{tally.written} written to {args.out}{skipped}')
    return 1 if tally.skipped else 0


if __name__ == '__main__':
    run_tool(main)
