#!/usr/bin/env python
"""Convert a local file of torchvision or timm weights for MMSegmentation's backbones.

python tools/model_converters/backbone2mmseg.py resnet50.pth resnet50_mmseg.pth
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mmengine.registry import init_default_scope

from mmseg_pan import cli
from mmseg_pan.conversion import convert_file


def main() -> None:
    """Convert, and print how to use the output."""
    parser = cli.ArgumentParser(description='Convert the weights of a backbone')
    parser.add_argument('source', help='.pth or .safetensors file of torchvision or timm')
    parser.add_argument('destination', help='.pth file to write')
    args = parser.parse_args()
    init_default_scope('mmseg')
    backbone = convert_file(args.source, args.destination)
    options = [f'model.backbone.{key}={value}' for key, value in backbone.items()]
    print(
        f'Wrote {args.destination}. Train with it by adding to tools/train.py CONFIG:\n'
        f'  --cfg-options {" ".join(options)} '
        f'model.backbone.init_cfg.checkpoint={args.destination}'
    )


if __name__ == '__main__':
    cli.run_tool(main)
