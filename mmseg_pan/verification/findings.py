"""The findings of a verification as tables, a plot and JSON."""

import json
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from prettytable import PrettyTable

from mmseg_pan.figures import encode
from mmseg_pan.files import write_whole
from mmseg_pan.fonts import drawable_names
from mmseg_pan.outputs import MARK

from .verify import Verification

_BAR = 24  # characters
_ROWS = 200


def fault_table(result: Verification) -> str:
    """One row for each fault; the first 200 where there are more."""
    table = PrettyTable(['fault', 'training', 'file', 'found'], align='l')
    for fault in result.faults[:_ROWS]:
        table.add_row([fault.kind, fault.severity, fault.path, fault.detail])
    more = len(result.faults) - _ROWS
    text = table.get_string()
    return text + (f'\nand {more:,} more; "--json FILE" holds all of them' if more > 0 else '')


def frequency_table(result: Verification) -> str:
    """Share of the pixels and number of images of each class, with bars."""
    roles = list(result.counts)
    header = ['class']
    for role in roles:
        header += [f'{role}: pixels', f'{role}: images', f'{role}: share of pixels']
    table = PrettyTable(header, align='r')
    table.align['class'] = 'l'
    for role in roles:
        table.align[f'{role}: share of pixels'] = 'l'
    for index, name in enumerate(result.classes):
        row = [name]
        for role in roles:
            counts = result.counts[role]
            share = counts.pixels[index] / max(1, counts.pixels.sum())
            bar = '#' * round(_BAR * share)
            row += [f'{counts.pixels[index]:,}', f'{counts.images[index]:,}']
            row += [f'{share:7.2%} {bar}']
        table.add_row(row)
    return table.get_string()


def summary(result: Verification) -> str:
    """What was checked, how fast, and the verdict."""
    lines = [
        f'{split.role}: {len(split.pairs):,} pairs of {split.source}' for split in result.splits
    ]
    speed = result.pairs / max(result.seconds, 1e-9)
    lines.append(f'{result.pairs:,} pairs in {result.seconds:.1f} s, {speed:,.0f} pairs/s')
    absent = [
        name
        for index, name in enumerate(result.classes)
        if 'train' in result.counts and not result.counts['train'].images[index]
    ]
    if absent:
        lines.append(f'No pixel of these classes in train: {", ".join(absent)}')
    kinds: dict[str, int] = {}
    for fault in result.faults:
        kinds[fault.kind] = kinds.get(fault.kind, 0) + 1
    found = ', '.join(f'{count:,} x {kind}' for kind, count in kinds.items())
    lines.append(f'Found: {found}' if found else 'No faults found.')
    return '\n'.join(lines)


def write_json(result: Verification, path: Path) -> None:
    """Everything, for programs."""
    content = {
        'file': MARK,
        'pairs': result.pairs,
        'seconds': round(result.seconds, 3),
        'harmful': result.harmful,
        'splits': [
            {'role': split.role, 'source': split.source, 'pairs': len(split.pairs)}
            for split in result.splits
        ],
        'faults': [
            {
                'fault': fault.kind,
                'training': fault.severity,
                'file': fault.path,
                'found': fault.detail,
            }
            for fault in result.faults
        ],
        'classes': list(result.classes),
        'frequencies': {
            role: {'pixels': counts.pixels.tolist(), 'images': counts.images.tolist()}
            for role, counts in result.counts.items()
        },
    }
    write_whole(path, (json.dumps(content, indent=1) + '\n').encode())


def write_plot(result: Verification, path: Path) -> None:
    """Class frequencies as bars: pixels on the left, images on the right."""
    roles = list(result.counts)
    height = max(2.5, 0.26 * len(result.classes) + 1)
    figure = Figure(figsize=(10, height), dpi=120, layout='constrained')
    left, right = figure.subplots(1, 2, sharey=True)
    positions = np.arange(len(result.classes))
    thickness = 0.8 / max(1, len(roles))
    for number, role in enumerate(roles):
        counts = result.counts[role]
        where = positions + (number - (len(roles) - 1) / 2) * thickness
        share = 100 * counts.pixels / max(1, counts.pixels.sum())
        left.barh(where, share, thickness, label=role)
        right.barh(where, counts.images, thickness, label=role)
    left.set_yticks(positions, drawable_names(result.classes))
    left.invert_yaxis()
    left.set_xscale('symlog', linthresh=0.1)  # classes without any pixel stay at zero
    left.set_xlim(left=0)
    left.set_xlabel('share of the labelled pixels in %, logarithmic')
    right.set_xlabel('images in which the class occurs')
    right.legend()
    write_whole(path, encode(figure, path.suffix[1:]))
