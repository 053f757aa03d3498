"""Training logs: the curves of a run, joined over all its starts."""

import json
from pathlib import Path


def log_files(path: Path) -> list[Path]:
    """Return mmengine's logs of a run, in the order of its starts.

    Args:
        path: A work dir, the folder of one start in it, or a log.
    """
    if path.is_file():
        return [path]
    patterns = ('*/vis_data/scalars.json', 'vis_data/scalars.json', 'scalars.json')
    return next((found for p in patterns if (found := sorted(path.glob(p)))), [])


def read_rows(path: Path) -> list[dict]:
    """Read what a run logged, training and validation, over all its starts.

    A start continues a checkpoint, or begins at 0: it replaces what an earlier one
    logged of the same iterations and of those that follow.

    Args:
        path: As for :func:`log_files`.

    Returns:
        Rows with 'step', the iteration; none where nothing is found.
    """
    joined = []
    for file in log_files(path):
        rows = _read_log(file)
        trained = [row['step'] for row in rows if 'loss' in row]
        if trained:
            joined = [row for row in joined if row['step'] < min(trained)]
        joined += rows
    return joined


def scalars(folder: Path) -> dict[int, dict]:
    """Read what training logged, by iteration, over all the starts of a run."""
    return {row['step']: row for row in read_rows(folder) if 'loss' in row}


def curve(rows: list[dict], key: str) -> tuple[list[int], list[float]]:
    """Pick the iterations and values of one logged quantity."""
    points = {row['step']: row[key] for row in rows if isinstance(row.get(key), int | float)}
    return list(points), list(points.values())


def _read_log(file: Path) -> list[dict]:
    rows = []
    for line in file.read_text(encoding='utf-8', errors='replace').splitlines():
        try:
            row = json.loads(line)
        except ValueError:  # the last line of a killed run is cut
            continue
        if isinstance(row, dict) and isinstance(row.get('step'), int):
            rows.append(row)
    return rows
