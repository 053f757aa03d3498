"""Runs of one recipe on one machine: what may be averaged over seeds, and how it is named."""

import json

_SAME = ('name', 'config', 'options', 'config_sha256', 'lists', 'weights', 'device')


def by_recipe(lines: list[dict]) -> list[list[dict]]:
    """Sort runs into those that differ by nothing but their seed.

    Args:
        lines: Of a results file.

    Returns:
        The runs of each recipe, in the order of the first of each.
    """
    found: dict[str, list[dict]] = {}
    for line in lines:
        if line['kind'] == 'run':
            key = json.dumps([line.get(part) for part in _SAME], sort_keys=True)
            found.setdefault(key, []).append(line)
    return list(found.values())


def newest_by_name(lines: list[dict]) -> dict[str, list[dict]]:
    """The runs of each name; of several recipes with one name, those of the last on record."""
    return {runs[0]['name']: runs for runs in by_recipe(lines)}


def titles(groups: list[list[dict]]) -> list[str]:
    """Name recipes, with what tells those apart that share a name.

    Args:
        groups: From :func:`by_recipe`.
    """
    return [
        ', '.join([group[0]['name'], *_marks(group[0], _namesakes(groups, group))])
        for group in groups
    ]


def _namesakes(groups: list[list[dict]], group: list[dict]) -> list[dict]:
    return [one[0] for one in groups if one[0]['name'] == group[0]['name']]


def _marks(line: dict, namesakes: list[dict]) -> list[str]:
    found = []
    for part in _SAME[1:]:
        values = [one.get(part) for one in namesakes]
        if all(value == values[0] for value in values):
            continue
        own = line.get(part)
        if part in ('lists', 'weights'):
            found += _file_marks(part, own, [value or {} for value in values])
        elif part == 'config_sha256':
            found.append(f'resolved config {own[:8] if own else "unknown"}')
        elif part == 'options':
            found.append(f'options {json.dumps(own)}')
        else:
            found.append(str(own))
    return found


def _file_marks(kind: str, own: dict | None, values: list[dict]) -> list[str]:
    if own is None:
        return [f'{kind} unknown']
    differing = [
        name for name in sorted({*own}) if any(value.get(name) != own[name] for value in values)
    ]
    return [f'{name.rpartition("/")[2]} {(own[name] or "unknown")[:8]}' for name in differing]
