#!/usr/bin/env python
"""Write DeepLabV3-MobileNetV2's weights as a checkpoint of a config.

python tools/model_converters/tflite2mmseg.py deeplab.tflite backbone.pth head.pth
python tools/model_converters/deeplab2mmseg.py CONFIG backbone.pth head.pth out.pth
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mmseg_pan import cli
from mmseg_pan.conversion import write_start


def main() -> None:
    """Convert."""
    parser = cli.ArgumentParser(description="DeepLabV3-MobileNetV2's weights for a config")
    parser.add_argument(
        'config', help='config of DeepLabV3, or of a PAN that starts with its logits'
    )
    parser.add_argument('backbone', help='backbone file written by tflite2mmseg.py')
    parser.add_argument('head', help='head file written by tflite2mmseg.py')
    parser.add_argument('out', help='.pth file to write, for load_from in a config')
    parser.add_argument(
        '--seed',
        type=cli.whole_number(0),
        default=0,
        help='seed for weights that are not in the files',
    )
    args = parser.parse_args()
    cli.check_network(args.config)
    write_start(args.config, args.backbone, args.head, args.out, args.seed)
    print(f'Wrote {args.out}.')


if __name__ == '__main__':
    cli.run_tool(main)
