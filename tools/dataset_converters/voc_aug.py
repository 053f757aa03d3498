#!/usr/bin/env python
"""Prepare VOC 2012 + SBD from the official archives.

python tools/dataset_converters/voc_aug.py VOCtrainval_11-May-2012.tar benchmark.tgz
python tools/dataset_converters/voc_aug.py data/VOCdevkit data/VOCaug --nproc 8
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mmseg_pan.cli import ArgumentParser, run_tool, whole_number
from mmseg_pan.voc.converter import prepare_voc_aug
from mmseg_pan.voc.manifest import VOC_2012_AUG, Manifest


def main(argv: list[str] | None = None, manifest: Manifest = VOC_2012_AUG) -> None:
    """Read the command line and convert."""
    parser = ArgumentParser(description='Prepare VOC 2012 + SBD for training')
    parser.add_argument(
        'devkit', help=f'{manifest.voc.name}, or the folder VOCdevkit or VOC2012 it unpacks to'
    )
    parser.add_argument(
        'aug',
        help=f'{manifest.sbd.name}, the folder it unpacks to, or a ready SegmentationClassAug '
        '(folder or zip)',
    )
    parser.add_argument(
        '-o',
        '--out_dir',
        '--out-dir',
        help='output folder of the masks (default: VOC2012/SegmentationClassAug); lists always go '
        'into VOC2012/ImageSets/Segmentation',
    )
    parser.add_argument(
        '--nproc', type=whole_number(1), help='worker processes (default: all cores)'
    )
    parser.add_argument(
        '--dry-run',
        action='store_true',
        help='check the input, print what would be done, and write nothing',
    )
    args = parser.parse_args(argv)
    prepare_voc_aug(
        args.devkit, args.aug, args.out_dir, args.nproc, args.dry_run, manifest=manifest
    )


if __name__ == '__main__':
    run_tool(main)
