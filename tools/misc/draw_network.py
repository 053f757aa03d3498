#!/usr/bin/env python
"""Draw Feature Pyramid Attention and Global Attention Upsample: docs/images/network.png.

python tools/misc/draw_network.py
"""

import argparse
import sys
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from mmseg_pan import cli
from mmseg_pan.figures import check_picture, encode, write_picture

COLORS = {'map': '#eeeeee', 'conv': '#dbe9f6', 'pool': '#fbe6d4', 'resize': '#e3f1dc'}
LINE = '#3b6ea5'
TIMES = '\N{MULTIPLICATION SIGN}'


def box(axes: Axes, x: float, y: float, text: str, kind: str, width: float = 1.8) -> None:
    """Draw a box with its centre at (x, y)."""
    height = 0.6 + 0.4 * text.count('\n')
    style = dict(boxstyle='round,pad=0,rounding_size=0.1', fc=COLORS[kind], ec=LINE, lw=1.2)
    axes.add_patch(FancyBboxPatch((x - width / 2, y - height / 2), width, height, **style))
    axes.text(x, y, text, ha='center', va='center', fontsize=10)


def arrow(axes: Axes, *points: tuple[float, float]) -> None:
    """Draw an arrow along points."""
    for start, end in pairwise(points[:-1]):
        axes.plot(*zip(start, end, strict=True), color=LINE, lw=1.3, zorder=0)
    style = dict(arrowstyle='-|>', color=LINE, lw=1.3, shrinkA=0, shrinkB=0)
    axes.annotate('', points[-1], points[-2], arrowprops=style, zorder=0)


def operation(axes: Axes, x: float, y: float, sign: str) -> None:
    """Draw a product or a sum."""
    style = dict(boxstyle='circle,pad=0.18', fc='white', ec=LINE, lw=1.3)
    axes.text(x, y, sign, ha='center', va='center', fontsize=12, bbox=style)


def draw_attention(axes: Axes) -> None:
    """Feature Pyramid Attention, figure 3b of the paper."""
    axes.set_title('Feature Pyramid Attention', fontsize=13, loc='left', color='#222222')
    box(axes, 1, 5, 'deepest\nfeatures', 'map')
    arrow(axes, (1, 5.5), (1, 7.4), (2.2, 7.4))
    box(axes, 3.3, 7.4, 'global pooling', 'pool', 2.2)
    arrow(axes, (4.4, 7.4), (5.1, 7.4))
    box(axes, 6, 7.4, '1x1 conv', 'conv')
    arrow(axes, (6.9, 7.4), (9.7, 7.4), (9.7, 6.45))
    arrow(axes, (1, 6.2), (2.4, 6.2))
    box(axes, 3.3, 6.2, '1x1 conv', 'conv')
    arrow(axes, (4.2, 6.2), (8.45, 6.2))
    operation(axes, 8.7, 6.2, TIMES)
    arrow(axes, (8.95, 6.2), (9.45, 6.2))
    operation(axes, 9.7, 6.2, '+')
    arrow(axes, (9.95, 6.2), (10.6, 6.2))
    box(axes, 11.3, 6.2, 'output', 'map', 1.4)
    heights = dict(zip(('7x7', '5x5', '3x3'), (3.5, 2, 0.5), strict=True))
    arrow(axes, (1, 4.5), (1, 3.8))
    for kernel, y in heights.items():
        box(axes, 1.5, y, f'pool 2x2, {kernel} conv', 'conv', 2.8)
        arrow(axes, (2.9, y), (4.1, y))
        box(axes, 5, y, f'{kernel} conv', 'conv')
        if kernel != '3x3':
            arrow(axes, (1, y - 0.3), (1, y - 1.2))
            arrow(axes, (5.9, y), (6.95, y))
            operation(axes, 7.2, y, '+')
            box(axes, 7.2, y - 0.75, 'upsample', 'resize', 1.5)
            arrow(axes, (7.2, y - 0.45), (7.2, y - 0.25))
    arrow(axes, (5.9, 0.5), (7.2, 0.5), (7.2, 0.95))
    arrow(axes, (7.2, 2.25), (7.2, 2.45))
    arrow(axes, (7.45, 3.5), (8.7, 3.5), (8.7, 4.6))
    box(axes, 8.7, 4.9, 'upsample', 'resize', 1.5)
    arrow(axes, (8.7, 5.2), (8.7, 5.95))
    axes.text(8.9, 3.9, 'attention for every\npixel and channel', fontsize=9, va='center')


def draw_upsample(axes: Axes) -> None:
    """Global Attention Upsample, figure 4 of the paper."""
    axes.set_title('Global Attention Upsample', fontsize=13, loc='left', color='#222222')
    box(axes, 1, 6.2, 'low-level\nfeatures', 'map')
    arrow(axes, (1.9, 6.2), (3.3, 6.2))
    box(axes, 4.2, 6.2, '3x3 conv', 'conv')
    arrow(axes, (5.1, 6.2), (7.25, 6.2))
    operation(axes, 7.5, 6.2, TIMES)
    arrow(axes, (7.75, 6.2), (9.25, 6.2))
    operation(axes, 9.5, 6.2, '+')
    arrow(axes, (9.75, 6.2), (10.6, 6.2))
    box(axes, 11.3, 6.2, 'output', 'map', 1.4)
    box(axes, 1, 2.1, 'high-level\nfeatures', 'map')
    arrow(axes, (1, 2.6), (1, 3.9), (2.2, 3.9))
    box(axes, 3.3, 3.9, 'global pooling', 'pool', 2.2)
    arrow(axes, (4.4, 3.9), (5, 3.9))
    box(axes, 5.9, 3.9, '1x1 conv', 'conv')
    arrow(axes, (6.8, 3.9), (7.5, 3.9), (7.5, 5.95))
    axes.text(7.65, 4.9, 'gate for every\nchannel', fontsize=9, va='center')
    arrow(axes, (1.9, 2.1), (4.6, 2.1))
    box(axes, 5.9, 2.1, 'upsample', 'resize', 2.6)
    arrow(axes, (7.2, 2.1), (9.5, 2.1), (9.5, 5.95))


def main() -> None:
    """Draw both blocks side by side."""
    parser = cli.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--out', type=Path, default=ROOT / 'docs/images/network.png')
    args = parser.parse_args()
    check_picture(args.out)
    figure = Figure(figsize=(14, 4.4))
    for axes, draw in zip(figure.subplots(1, 2), (draw_attention, draw_upsample), strict=True):
        draw(axes)
        axes.set(xlim=(-0.2, 12.3), ylim=(0, 8))
        axes.axis('off')
    figure.subplots_adjust(left=0.01, right=0.99, bottom=0.01, top=0.92, wspace=0.02)
    write_picture(encode(figure, args.out.suffix[1:]), args.out)
    print(f'Wrote {args.out}.')


if __name__ == '__main__':
    cli.run_tool(main)
