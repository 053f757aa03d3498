"""Tables of measured numbers in pages of any language: words by hand, cells from the record."""

import json
import re
from collections.abc import Callable
from pathlib import Path

from mmseg_pan.errors import UserError

from .card import mean_and_deviation
from .recipes import newest_by_name
from .results import read_results

_TABLE = re.compile(
    r'(<!-- measured: (\S+)\ncolumns: ([^\n]+)\nrows: ([^\n]+)\n-->\n)(.*?)(<!-- end -->)', re.S
)


def with_cells(text: str, root: Path) -> str:
    """Fill the tables of a page that say where their numbers come from.

    A table stands between a comment and ``<!-- end -->``. The comment names the source, and what of
    it each column and each row holds::

        <!-- measured: voc_heads
        columns: mIoU_nine | aAcc:1 | cost multiply_adds
        rows: PAN | FCN
        -->

    The source is a results file, whose rows are names of runs, or ``benchmark_NAME.txt``, whose
    rows are configs and whose columns are its own. Of a results file a column is a key of its
    lines, ``seconds`` of the whole training, ``IoU`` and a class, or ``cost`` and a key of
    ``accuracy_cost.json``; a number after a colon is the number of
    decimals. Headings of columns and rows stay as they are.

    Args:
        text: The page.
        root: Of the checkout.

    Raises:
        UserError: If a source does not hold what is named, or a table has other rows or columns.
    """

    def fill(match: re.Match) -> str:
        opening, source, columns, rows, body, end = match.groups()
        cell = (_of_benchmark if source.endswith('.txt') else _of_runs)(root, source)
        columns, rows = (_split(one) for one in (columns, rows))
        head, rule, *lines = body.splitlines()
        if len(lines) != len(rows) or len(_split(head.strip('|'))) != len(columns) + 1:
            raise UserError(
                f'A table of {source} has {len(lines)} rows and the heads {head}, and its comment '
                f'names {len(rows)} rows and {len(columns)} columns; make them agree.'
            )
        filled = [
            '| ' + ' | '.join([_split(line.strip('|'))[0], *(cell(row, one) for one in columns)])
            for line, row in zip(lines, rows, strict=True)
        ]
        return opening + '\n'.join([head, rule, *(f'{line} |' for line in filled)]) + f'\n{end}'

    return _TABLE.sub(fill, text)


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split('|')]


def _missing(what: str, source: Path | str) -> UserError:
    return UserError(
        f'{source} contains no "{what}"; fix the comment above the table that names it.'
    )


def _of_runs(root: Path, source: str) -> Callable[[str, str], str]:
    folder = root / 'configs/pan/results'
    recipes = newest_by_name(read_results(folder / f'{source}.jsonl'))
    costs = json.loads((root / 'docs/images/accuracy_cost.json').read_text())['networks']
    shown: dict[str, list[dict]] = {}

    def cell(name: str, column: str) -> str:
        if name not in recipes:
            raise _missing(name, f'{source}.jsonl')
        shown[name] = recipes[name]
        lists = {json.dumps(runs[0].get('lists'), sort_keys=True) for runs in shown.values()}
        if len(lists) > 1:
            raise UserError(
                f'The newest runs of {", ".join(shown)} in {source}.jsonl read different lists of '
                'images, so that one table cannot hold them; run the others again too.'
            )
        key, _, digits = column.partition(':')
        if key.startswith('cost '):
            return _cost_of(costs, name, key.removeprefix('cost '))
        runs = recipes[name]
        if key == 'seconds':
            values = [line['iterations'] * line['seconds_per_iteration'] for line in runs]
        elif key.startswith('IoU '):
            name_of_class = key.removeprefix('IoU ')
            if any(line['IoU'].get(name_of_class) is None for line in runs):
                raise _missing(key, f'{source}.jsonl')
            values = [line['IoU'][name_of_class] for line in runs]
        elif all(key in line for line in runs):
            values = [line[key] for line in runs]
        else:
            raise _missing(key, f'{source}.jsonl')
        return mean_and_deviation(values, int(digits or 2))

    return cell


def _cost_of(costs: list[dict], name: str, key: str) -> str:
    network = next((one for one in costs if one['name'] == name), {})
    if key == 'multiply_adds' and key in network:
        return f'{network[key] / 1e9:.2f}'
    if key == 'ms' and key in network:
        return f'{network[key][1]:.1f}'
    raise _missing(f'{key} of {name}', 'docs/images/accuracy_cost.json')


def _of_benchmark(root: Path, source: str) -> Callable[[str, str], str]:
    text = (root / 'configs/pan/results' / source).read_text()
    head, _, *lines = [
        _split(line.strip('|')) for line in text.splitlines() if line.startswith('|')
    ]
    rows = {line[0]: dict(zip(head, line, strict=True)) for line in lines}

    def cell(name: str, column: str) -> str:
        if column not in rows.get(name, {}):
            raise _missing(f'{column} of {name}', source)
        return rows[name][column]

    return cell
