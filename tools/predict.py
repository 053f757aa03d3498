#!/usr/bin/env python
"""Segment images and videos.

python tools/predict.py photo.jpg --out predictions
python tools/predict.py photos --checkpoint iter_40000.pth --out predictions
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmseg_pan.cli import ArgumentParser, run_tool, whole_number
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
    """Predict; 1 where a file was skipped."""
    parser = ArgumentParser(
        description='Segment images and videos. A file that cannot be read is named and skipped, '
        'and the exit code is then 1.'
    )
    parser.add_argument(
        'inputs',
        nargs='+',
        metavar='INPUT',
        help='image, video, folder (with its sub-folders) or quoted pattern',
    )
    parser.add_argument(
        '--checkpoint',
        default=SHIPPED,
        metavar='FILE',
        help='trained weights (default: the PAN that comes with the package, which has learnt '
        "VOC's classes from photographs of mostly animals and people)",
    )
    parser.add_argument(
        '--config', metavar='FILE', help='config (default: the one in the checkpoint)'
    )
    parser.add_argument('--out', type=Path, required=True, metavar='DIR', help='results go there')
    parser.add_argument(
        '--format',
        choices=KINDS,
        default=KINDS[0],
        help='the image with classes and legend, the classes in their colours, or class ids '
        '(default: overlay)',
    )
    parser.add_argument(
        '--batch', type=whole_number(1), default=1, metavar='N', help='images at once (default: 1)'
    )
    parser.add_argument(
        '--window',
        type=whole_number(SMALLEST_WINDOW),
        default=WINDOW,
        metavar='SIDE',
        help='images that have a longer side when the test pipeline has resized them are seen in '
        'overlapping windows of SIDE pixels (default: %(default)s)',
    )
    parser.add_argument('--device', help='as torch names it (default: the GPU, where there is one)')
    parser.add_argument(
        '--unsafe-load',
        action='store_true',
        help='let the checkpoint run the code it holds; only where you trust its maker',
    )
    args = parser.parse_args()
    sources = find_sources(args.inputs, args.out, args.format)
    check_device(args.device)
    model = load_segmentor(args.checkpoint, args.config, args.device, args.unsafe_load)
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
