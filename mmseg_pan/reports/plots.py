"""Plots of a report and of the analysis tools, as bytes of a picture."""

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from mmseg_pan.evaluation.components import SizeBin
from mmseg_pan.figures import encode
from mmseg_pan.fonts import drawable_names

# A dollar sign in a class name is no formula. Six inches at this size can be read on a phone.
STYLE = {
    'text.parse_math': False,
    'font.size': 10,
    'axes.spines.top': False,
    'axes.spines.right': False,
    'axes.grid': True,
    'axes.grid.axis': 'y',
    'axes.axisbelow': True,
    'grid.color': '#e4e4e4',
}
BLUE, ORANGE, GREY = '#1f5fa8', '#d9731a', '#9aa0a6'
_WIDTH = 6


@matplotlib.rc_context(STYLE)
def draw_iou(
    classes: Sequence[str], iou: np.ndarray, other: np.ndarray | None = None, names=('', '')
) -> bytes:
    """Bars of the IoU of each class, best above; two bars each with another network.

    Args:
        classes: Names.
        iou: Per cent, nan for a class that does not occur; it gets no bar.
        other: The same of another network.
        names: What the two networks are called.
    """
    classes, names = drawable_names(classes), drawable_names(names)
    order = [i for i in np.argsort(iou, kind='stable') if not np.isnan(iou[i])]
    figure, axes = _bars(len(order))
    positions = np.arange(len(order))
    height = 0.75 if other is None else 0.4
    shift = 0 if other is None else height / 2
    sets = [(iou, shift, BLUE)] + ([] if other is None else [(other, -shift, ORANGE)])
    for (values, moved, colour), name in zip(sets, names, strict=False):
        bars = axes.barh(positions + moved, values[order], height, color=colour, label=name)
        axes.bar_label(bars, fmt='%.1f', padding=3, fontsize=8 if other is None else 7)
    axes.set_yticks(positions, [shorten(classes[i]) for i in order])
    axes.set(xlabel='IoU, %', xlim=(0, 108))
    if other is not None:
        figure.legend(loc='outside upper center', frameon=False)
    return encode(figure)


@matplotlib.rc_context(STYLE)
def draw_differences(classes: Sequence[str], gaps: np.ndarray, images: np.ndarray) -> bytes:
    """Bars of the difference in IoU of each class; the largest above.

    Args:
        classes: Names.
        gaps: Points, nan for a class that does not occur.
        images: How many images have the class: a large bar of a class with few is chance.
    """
    classes = drawable_names(classes)
    order = [i for i in np.argsort(gaps, kind='stable') if not np.isnan(gaps[i])]
    figure, axes = _bars(len(order))
    colours = [BLUE if gaps[i] >= 0 else ORANGE for i in order]
    bars = axes.barh(np.arange(len(order)), gaps[order], 0.75, color=colours)
    axes.bar_label(bars, fmt='%+.1f', padding=3, fontsize=8)
    axes.axvline(0, color='black', linewidth=0.8)
    names = [f'{shorten(classes[i])} ({images[i]})' for i in order]
    axes.set_yticks(np.arange(len(order)), names)
    reach = 1.2 * max([1, *np.abs(gaps[order])])
    axes.set(xlabel='difference in IoU, points', xlim=(-reach, reach))
    return encode(figure)


@matplotlib.rc_context({**STYLE, 'axes.grid': False})
def draw_confusion(
    matrix: np.ndarray, classes: Sequence[str], normalize: bool = True, kind: str = 'png'
) -> bytes:
    """A confusion matrix, truth in rows.

    Args:
        matrix: Pixels, ``(classes, classes)``.
        classes: Names.
        normalize: Show the shares of each row in per cent; rows without a pixel are grey.
        kind: Format of the picture.
    """
    values = matrix.astype(float)
    if normalize:
        with np.errstate(invalid='ignore'):
            values = 100 * values / values.sum(1, keepdims=True)
    count = len(classes)
    side = float(np.clip(2 + 0.38 * count, 5, 24))
    figure = Figure(figsize=(side + 1.4, side), dpi=100, layout='compressed')
    axes = figure.subplots()
    colours = matplotlib.colormaps['Blues'].with_extremes(bad='#d8d8d8' if normalize else 'white')
    limits = dict(vmin=0, vmax=100) if normalize else dict(norm='log')  # background rules pixels
    shown = axes.imshow(values, cmap=colours, interpolation='nearest', **limits)
    label = '% of the row' if normalize else 'pixels (log scale)'
    figure.colorbar(shown, label=label, shrink=0.8, format=lambda value, _: f'{value:,.0f}')
    names = [shorten(name) for name in drawable_names(classes)]
    size = 9 if count <= 40 else 5
    axes.set_xticks(range(count), names, rotation=90, fontsize=size)
    axes.set_yticks(range(count), names, fontsize=size)
    axes.set(xlabel='predicted', ylabel='truth')
    if normalize and count <= 40:
        for row, column in zip(*np.nonzero(values >= 0.5), strict=True):
            value = values[row, column]
            axes.text(
                column, row, f'{value:.0f}', ha='center', va='center', fontsize=7,
                color='white' if value > 55 else 'black',
            )  # fmt: skip
    return encode(figure, kind)


@matplotlib.rc_context(STYLE)
def draw_curves(
    runs: dict[str, dict[str, tuple[list, list]]], labels: dict | None = None, kind: str = 'png'
) -> bytes:
    """Curves over the iterations: a panel for each quantity, a line for each run.

    Args:
        runs: By the name of the run and of the quantity: iterations and values.
        labels: What the axis of a quantity says, where it is not its name.
        kind: Format of the picture.
    """
    runs = dict(zip(drawable_names(list(runs)), runs.values(), strict=True))
    keys = list(dict.fromkeys(key for found in runs.values() for key in found))
    figure = Figure(figsize=(_WIDTH, 2.6 * len(keys)), dpi=130, layout='constrained')
    panels = figure.subplots(len(keys), squeeze=False)[:, 0]
    for key, panel in zip(keys, panels, strict=True):
        for number, (name, found) in enumerate(runs.items()):
            if key in found:
                mark = '.' if len(found[key][0]) < 30 else None
                panel.plot(*found[key], label=name, color=_colour(number), marker=mark)
        panel.set_ylabel((labels or {}).get(key, key))
    panels[-1].set_xlabel('iteration')
    if len(runs) > 1:
        handles = [
            panels[0].plot([], [], color=_colour(number), label=name)[0]
            for number, name in enumerate(runs)
        ]
        figure.legend(handles=handles, loc='outside upper center', frameon=False)
    return encode(figure, kind)


@matplotlib.rc_context(STYLE)
def draw_recall_by_size(bins: list[SizeBin], names: Sequence[str]) -> bytes:
    """Recall over the size of components with 95 % intervals, and how many there are.

    Args:
        bins: From :func:`mmseg_pan.evaluation.components.by_size`.
        names: What the network, or the two networks, are called.
    """
    names = drawable_names(names)
    figure = Figure(figsize=(_WIDTH, 5), dpi=130, layout='constrained')
    upper, lower = figure.subplots(2, sharex=True, height_ratios=(4, 1))
    edges = np.array([bins[0].low, *(b.high for b in bins)])
    centres = np.sqrt(edges[:-1] * edges[1:])
    sets = [([b.recall for b in bins], BLUE)]
    if bins[0].other is not None:
        sets.append(([b.other for b in bins], ORANGE))
    for number, ((triples, colour), name) in enumerate(zip(sets, names, strict=False)):
        mean, low, high = np.array(triples).T
        x = centres * 1.12 ** (2 * number - len(sets) + 1)  # side by side
        there = ~np.isnan(mean)
        errors = np.abs(np.array([mean - low, high - mean]))[:, there]
        upper.errorbar(
            x[there], mean[there], errors, color=colour, marker='o', capsize=3, label=name
        )
    upper.set(ylabel='recall of a component, %', ylim=(0, 100))
    if len(sets) > 1:
        figure.legend(loc='outside upper center', frameon=False)
    bars = lower.bar(
        edges[:-1], [b.count for b in bins], np.diff(edges), align='edge', color=GREY, ec='white'
    )
    lower.bar_label(bars, fontsize=8)
    lower.set_xscale('log', base=4)
    lower.minorticks_off()
    lower.set_xticks(edges, [f'{edge:,}' for edge in edges], fontsize=8)
    lower.set_yscale('log')
    lower.set_ylim(0.5, 8 * max(b.count for b in bins))
    lower.set_yticks([])
    lower.set(xlabel='pixels of the component (log scale)', ylabel='components\n(log scale)')
    lower.set_xlim(edges[0], edges[-1])
    return encode(figure)


@matplotlib.rc_context({**STYLE, 'axes.grid.axis': 'both'})
def draw_accuracy_cost(points: Sequence[dict], mean: str, kind: str = 'png') -> bytes:
    """Accuracy over multiply-adds and over time; PAN and its parts in another colour.

    Args:
        points: From :func:`mmseg_pan.experiments.accuracy_cost.accuracy_over_cost`.
        mean: What the accuracy is called.
        kind: Format of the picture.
    """
    figure = Figure(figsize=(2 * _WIDTH, 4.5), dpi=130, layout='constrained')
    panels = figure.subplots(1, 2, sharey=True)
    labels = [], []
    for point in points:
        seeds = point['accuracy']
        y = (np.mean(seeds), np.std(seeds, ddof=1) if len(seeds) > 1 else 0)
        low, median, high = point['ms']
        style = dict(
            color=BLUE if point['head'] in ('PANHead', 'FPAHead') else ORANGE,
            marker='o', capsize=3, linestyle='none',
        )  # fmt: skip
        panels[0].errorbar(point['multiply_adds'] / 1e9, y[0], y[1], **style)
        panels[1].errorbar(median, y[0], y[1], [[median - low], [high - median]], **style)
        label = point['name'] if len(seeds) > 1 else f'{point["name"]} (one seed)'
        labels[0].append((y[0], point['multiply_adds'] / 1e9, label))
        labels[1].append((y[0], median, label))
    metric, _, classes = mean.partition('_')
    of = f' over {classes} classes' if classes else ''
    panels[0].set(
        xlabel='G multiply-adds per image',
        ylabel=f'{metric}{of}, % (bars: standard deviation)',
    )
    panels[1].set(xlabel='ms per image: median and quartiles')
    for panel, some in zip(panels, labels, strict=True):
        panel.margins(y=0.15)
        panel.set_xlim(0, 1.1 * panel.dataLim.xmax)
        _annotate(panel, some)
    return encode(figure, kind)


def _annotate(panel, labels: list[tuple[float, float, str]]) -> None:
    """Write names beside their points, upwards where another name is in the way."""
    width, height = (high - low for low, high in (panel.get_xlim(), panel.get_ylim()))
    line = 0.045 * height
    taken = []
    for y, x, label in sorted(labels):
        to_the_left = x > 0.6 * width
        place = y + 0.2 * line
        for other_x, other in sorted(taken, key=lambda spot: spot[1]):
            if abs(other_x - x) < 0.35 * width and abs(other - place) < line:
                place = other + line
        taken.append((x, place))
        panel.annotate(
            label,
            (x, y),
            (x + (-0.015 if to_the_left else 0.015) * width, place),
            ha='right' if to_the_left else 'left',
            fontsize=8,
            bbox=dict(fc='white', ec='none', alpha=0.7, pad=0.5),  # over the error bars
        )


def shorten(name: str, length: int = 22) -> str:
    """Shorten a name that would take too much space."""
    return name if len(name) <= length else name[: length - 1] + '…'


def _bars(count: int) -> tuple:
    figure = Figure(figsize=(_WIDTH, 1 + 0.27 * max(count, 1)), dpi=130, layout='constrained')
    axes = figure.subplots()
    axes.grid(axis='x')
    axes.grid(visible=False, axis='y')
    axes.set_ylim(-0.6, max(count, 1) - 0.4)
    return figure, axes


def _colour(number: int) -> str:
    return (BLUE, ORANGE)[number] if number < 2 else f'C{number}'
