"""A training step with MMSegmentation's defaults, and with each option and all, in one run.

python tests/engine/benchmark_training.py \
    configs/pan/pan_mobilenet-v2-d16_1xb8-1k_voc12aug-256x256.py --rounds 7

The loss that resizes one image at a time is what PANHead does, and the configs of MobileNetV2
have no in-place ReLU6; 'stock' takes both away. With --bfloat16 on
a processor without such instructions, a step takes minutes.
"""

import argparse
import statistics
import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
from mmengine.registry import init_default_scope
from mmseg.models.decode_heads.decode_head import BaseDecodeHead

from mmseg_pan import cli
from mmseg_pan.benchmarks import timing
from mmseg_pan.benchmarks.contenders import from_config
from mmseg_pan.devices import default_device, device_name


def step(args: argparse.Namespace, *options: str):
    """Build a network of its own with some options, and return its training step."""
    contender = from_config('', cli.load_config(args.config).model)
    contender.prepare('channels-last' in options, train=True)
    images = torch.randn(args.batch, 3, args.side, args.side, device=default_device())
    labels = torch.randint(
        contender.classes, (args.batch, args.side, args.side), device=default_device()
    )
    if 'channels-last' in options:
        images = images.contiguous(memory_format=torch.channels_last)
    if 'stock' in options:
        head = contender.model.decode_head
        head.loss_by_feat = partial(BaseDecodeHead.loss_by_feat, head)
        for module in contender.model.modules():
            if isinstance(module, torch.nn.ReLU6):
                module.inplace = True
    if 'compile' in options:
        contender.compile()
    extra = dict(fused=True) if 'fused' in options else {}
    return timing.training_step(contender, images, labels, 'bfloat16' in options, **extra)


def main() -> None:
    """Measure and print one Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('config')
    parser.add_argument('--side', type=int, default=256, help='of the square images')
    parser.add_argument('--batch', type=int, default=8)
    parser.add_argument('--rounds', type=int, default=7)
    parser.add_argument('--compile', action='store_true', help='takes minutes to start')
    parser.add_argument('--bfloat16', action='store_true')
    args = parser.parse_args()
    init_default_scope('mmseg')
    torch.manual_seed(0)
    alone = ['channels-last', 'fused']
    alone += [name for name in ('compile', 'bfloat16') if vars(args)[name]]
    chosen = [('stock',), (), *((option,) for option in alone), tuple(alone)]
    actions = {' + '.join(options) or 'default': step(args, *options) for options in chosen}
    times = timing.interleave(actions, args.rounds)
    print(
        f'{device_name()}, torch {torch.__version__}, {args.side}x{args.side}, batch '
        f'{args.batch}, {args.rounds} interleaved rounds\n\n'
        '| | ms, median (quartiles) | to stock | peak MB |\n| --- | --- | ---: | ---: |'
    )
    for name, found in times.items():
        pairs = zip(found['whole'], times['stock']['whole'], strict=True)
        memory = timing.memory_of(actions[name])
        print(
            f'| {name} | {timing.write_spread(found["whole"])} '
            f'| {statistics.median(a / b for a, b in pairs):.2f} '
            f'| {"" if memory is None else round(memory / 1e6)} |'
        )


if __name__ == '__main__':
    cli.run_tool(main)
