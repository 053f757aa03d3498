"""The model card's tables, written from the results files."""

import re
import statistics
from pathlib import Path

from .recipes import by_recipe, titles
from .results import read_results

_PLACE = re.compile(r'(<!-- results: (\w+) -->\n).*?(<!-- end -->)', re.S)


def with_tables(text: str, folder: Path) -> str:
    """Fill the places of a page that name results files.

    Args:
        text: A page with ``<!-- results: NAME -->`` and ``<!-- end -->`` around each place.
        folder: Where ``NAME.jsonl`` lies.
    """

    def fill(match: re.Match) -> str:
        lines = read_results(folder / f'{match[2]}.jsonl')
        return f'{match[1]}{tables(lines)}\n{match[3]}'

    return _PLACE.sub(fill, text)


def tables(lines: list[dict]) -> str:
    """Write runs, as mean and standard deviation over seeds, and comparisons.

    Runs of one name and different recipes have a row each, which says in what they differ. A
    difference whose interval holds zero is "not resolved"; with one seed per recipe there is
    no interval.
    """
    runs = [line for line in lines if line['kind'] == 'run']
    groups = by_recipe(runs)
    named = titles(groups)
    title_of = {
        line.get('run'): name for name, group in zip(named, groups, strict=True) for line in group
    }
    means = [key for key in (runs[0] if runs else {}) if key.startswith('mIoU')]
    columns = [_title(key) for key in means]
    rows = [
        ['', 'seeds', *columns, 'accuracy %', 's / iteration'],
        ['---', '---:', *['---:'] * (len(means) + 2)],
    ]
    for name, some in zip(named, groups, strict=True):
        rows.append(
            [name, str(len(some))]
            + [mean_and_deviation([line[key] for line in some]) for key in (*means, 'aAcc')]
            + [_step_time(some)]
        )
    text = _table(rows)
    compared = [line for line in lines if line['kind'] == 'comparison']
    if compared:
        rows = [['difference', *columns], ['---'] * (len(means) + 1)]
        for line in compared:
            sides = zip((line['first'], line['second']), line.get('runs', [[], []]), strict=True)
            pair = ' minus '.join(title_of[side[0]] if side else name for name, side in sides)
            rows.append([pair, *(_difference(line[key]) for key in means)])
        text += '\n\n' + _table(rows)
    return text


def _step_time(runs: list[dict]) -> str:
    if not all(line.get('iterations', True) for line in runs):
        return 'not trained'
    return f'{statistics.mean(line["seconds_per_iteration"] for line in runs):.2f}'


def _title(key: str) -> str:
    _, _, selection = key.partition('_')
    classes, _, images = selection.partition('_')
    return ', '.join(
        ['mIoU %', *([f'{classes} classes'] if classes else []), *filter(None, [images])]
    )


def mean_and_deviation(values: list[float], digits: int = 2) -> str:
    """Write a mean and, of several values, the standard deviation in brackets."""
    mean = f'{statistics.mean(values):.{digits}f}'
    return f'{mean} ({statistics.stdev(values):.{digits}f})' if len(values) > 1 else mean


def _difference(found: dict) -> str:
    low, high, of = found['low'], found['high'], ''
    if low is None and 'images_low' in found:
        # One run on each side: the interval says nothing of other seeds.
        low, high, of = found['images_low'], found['images_high'], ' for these two networks'
    if low is None:
        return f'{found["mean"]:+.2f}, no interval'
    text = f'{found["mean"]:+.2f} [{low:+.2f}, {high:+.2f}]{of}'
    return f'{text}, not resolved' if low <= 0 <= high else text


def _table(rows: list[list[str]]) -> str:
    return '\n'.join(f'| {" | ".join(row)} |' for row in rows)
