"""What a network multiplies its features by, drawn over the photograph."""

from collections.abc import Sequence

import cv2
import matplotlib
import numpy as np
from matplotlib.figure import Figure

from mmseg_pan.figures import encode

from .plots import BLUE, STYLE


@matplotlib.rc_context(STYLE)
def draw_attention(
    image: np.ndarray, blocks: Sequence[tuple[str, np.ndarray, np.ndarray]], kind: str = 'png'
) -> bytes:
    """The photograph, and each block's factors: above over the photograph, below sorted.

    Args:
        image: RGB, (H, W, 3) uint8.
        blocks: Name, factors of any shape, and the map over the photograph (h, w): blue below
            zero, red above, on one scale.
        kind: File format.
    """
    height = 2.2 * min(2, max(0.5, image.shape[0] / image.shape[1])) + 1.9
    figure = Figure(figsize=(2.4 * (1 + len(blocks)), height), layout='constrained', dpi=150)
    panels = figure.subplots(2, 1 + len(blocks), height_ratios=(height - 1.9, 1.4), squeeze=False)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    panels[0, 0].imshow(image)
    panels[0, 0].set_title('photograph', fontsize=9)
    panels[1, 0].axis('off')
    for (above, below), (name, factors, shown) in zip(panels.T[1:], blocks, strict=True):
        largest = max(float(np.abs(shown).max()), 1e-9)
        signed = shown.min() < 0
        scale = dict(cmap='seismic' if signed else 'Reds', vmin=-largest * signed, vmax=largest)
        full = cv2.resize(shown, grey.shape[::-1], interpolation=cv2.INTER_LINEAR)
        above.imshow(grey, cmap='gray', vmin=-120, vmax=255)
        drawn = above.imshow(full, alpha=0.55, **scale)
        above.set_title(name, fontsize=9)
        bar = figure.colorbar(drawn, ax=above, location='bottom', pad=0.02)
        bar.ax.tick_params(labelsize=7)
        values = np.sort(factors, axis=None)
        below.fill_between(np.linspace(0, 100, len(values)), values, step='mid', color=BLUE)
        below.set_xlabel('factors, smallest to largest, %', fontsize=7)
        below.tick_params(labelsize=7)
    for panel in panels[0]:
        panel.grid(False)
        panel.set_axis_off()
    return encode(figure, kind)
