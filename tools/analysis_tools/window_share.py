#!/usr/bin/env python
"""Measure the share of pixels whose class changes when an image is processed in windows.

python tools/analysis_tools/window_share.py photos --checkpoint iter_40000.pth --windows 512 384
"""

import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mmseg_pan.cli import ArgumentParser, check_network, run_tool, whole_number
from mmseg_pan.datasets.reading import Loading
from mmseg_pan.devices import check_device
from mmseg_pan.evaluation.fast_inference import prepare_for_inference
from mmseg_pan.inference import load_segmentor
from mmseg_pan.inference.images import read_image
from mmseg_pan.inference.sources import find_sources
from mmseg_pan.inference.window_share import window_shares
from mmseg_pan.parallel import progress_bar


def main() -> None:
    """Measure and print a table."""
    parser = ArgumentParser(description='Compare predictions in windows with those on whole images')
    parser.add_argument('inputs', nargs='+', metavar='IMAGE', help='images, folders, patterns')
    parser.add_argument('--checkpoint', required=True, metavar='FILE')
    parser.add_argument('--config', metavar='FILE', help='default: the one in the checkpoint')
    parser.add_argument('--windows', nargs='+', type=whole_number(1), required=True, metavar='SIDE')
    parser.add_argument('--device')
    args = parser.parse_args()
    check_device(args.device)
    sources = find_sources(args.inputs, Path('nowhere'), 'overlay')
    model = load_segmentor(args.checkpoint, check_network(args.config), args.device)
    prepare_for_inference(model, labels_only=True)
    with progress_bar() as bar:
        images = bar.track([source.path for source in sources], description='comparing')
        loading = Loading.of(model.cfg.test_pipeline) or Loading()
        read = partial(read_image, loading=loading)
        shares = window_shares(model, map(read, images), args.windows)
    print(
        '| window | images larger than the window | pixels whose class changes |\n'
        '| ---: | ---: | ---: |'
    )
    for window, (count, share) in shares.items():
        print(f'| {window} | {count} | {share:.1%} |')


if __name__ == '__main__':
    run_tool(main)
