#!/usr/bin/env python
"""Convert DeepLabV3-MobileNetV2's public TFLite file to weights of a backbone and a head.

python tools/model_converters/tflite2mmseg.py deeplab.tflite backbone.pth head.pth
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mmengine.registry import init_default_scope

from mmseg_pan import cli
from mmseg_pan.conversion import convert_deeplab_file


def main() -> None:
    """Convert, and report what was read."""
    parser = cli.ArgumentParser(description='Convert DeepLabV3-MobileNetV2 from TFLite')
    parser.add_argument('source', help='deeplabv3_mnv2_pascal_quant.tflite')
    parser.add_argument('backbone', help=".pth file to write for MMSeg's MobileNetV2")
    parser.add_argument('head', help='.pth file to write for the four 1x1 convs of the head')
    args = parser.parse_args()
    init_default_scope('mmseg')
    digest, public = convert_deeplab_file(args.source, args.backbone, args.head)
    which = 'the public file' if public else 'NOT the public file'
    print(f'Read {args.source}: SHA-256 {digest}, {which}.')
    print(f'Wrote {args.backbone} and {args.head}.')


if __name__ == '__main__':
    cli.run_tool(main)
