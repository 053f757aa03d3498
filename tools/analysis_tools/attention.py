#!/usr/bin/env python
"""Draw FPA's attention map and what GAU's gates let through over a photograph.

python tools/analysis_tools/attention.py CONFIG CHECKPOINT photo.jpg --out attention.png
"""

import sys
from pathlib import Path

import cv2

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mmseg_pan.cli import ArgumentParser, check_network, run_tool
from mmseg_pan.datasets.reading import Loading
from mmseg_pan.devices import check_device
from mmseg_pan.errors import UserError
from mmseg_pan.figures import check_picture, write_picture
from mmseg_pan.inference import load_segmentor
from mmseg_pan.inference.attention import gather_attention, summarize
from mmseg_pan.inference.images import as_bgr, read_image
from mmseg_pan.reports.attention_plot import draw_attention


def main() -> None:
    """Print a line for each block, and write the picture."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('config', metavar='CONFIG')
    parser.add_argument('checkpoint', metavar='CHECKPOINT')
    parser.add_argument('photo', metavar='PHOTO', type=Path)
    parser.add_argument('--out', type=Path, default=Path('attention.png'), metavar='FILE')
    parser.add_argument('--device')
    args = parser.parse_args()
    if not args.photo.is_file():
        raise UserError(f'The photograph {args.photo} does not exist; type the name of an image.')
    check_device(args.device)
    check_picture(args.out, inputs=[args.photo, Path(args.checkpoint)])
    model = load_segmentor(args.checkpoint, check_network(args.config), args.device)
    image = read_image(args.photo, loading=Loading.of(model.cfg.test_pipeline) or Loading())
    blocks = gather_attention(model, image)
    for block in blocks:
        print(summarize(block))
    rgb = cv2.cvtColor(as_bgr(image), cv2.COLOR_BGR2RGB)
    write_picture(draw_attention(rgb, [tuple(b) for b in blocks], args.out.suffix[1:]), args.out)
    print(f'Written: {args.out}')


if __name__ == '__main__':
    run_tool(main)
