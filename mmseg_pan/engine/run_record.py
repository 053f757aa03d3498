"""The record of which run in a work dir wrote which checkpoint."""

import json
import uuid
from pathlib import Path

from mmseg_pan.errors import UserError
from mmseg_pan.files import write_whole

#: Beside the checkpoints: {"runs": [{"id": ..., "checkpoints": {name: step}, "superseded": {name:
#: step}}, ...]}, the run that was started or resumed last at the end. Superseded are checkpoints
#: that a run wrote before it was resumed from an earlier one.
RECORD = 'runs.json'
#: Separates the old name of a renamed checkpoint from the ID of the run that wrote it.
_ASIDE = '.of-run-'


def new_run_id() -> str:
    """Return an identity for a run that starts from iteration 0."""
    return uuid.uuid4().hex[:12]


def read_runs(folder: str | Path) -> list[dict]:
    """Read the record of a folder; empty where there is none, as in work dirs of 0.1.0.

    Raises:
        UserError: If the record is damaged.
    """
    file = Path(folder, RECORD)
    if not file.is_file():
        return []
    try:
        return [
            dict(
                id=run['id'],
                checkpoints=dict(run['checkpoints']),
                superseded=dict(run.get('superseded', {})),
            )
            for run in json.loads(file.read_text())['runs']
        ]
    except (ValueError, KeyError, TypeError):
        raise UserError(
            f'{file} is damaged: it must list the runs of this folder; remove it and name the '
            'checkpoint with "--resume FILE".'
        ) from None


def begin_run(folder: Path, run_id: str, checkpoints: dict[str, int], step: int) -> dict[str, int]:
    """Make a run the newest of a folder.

    Args:
        folder: Of the checkpoints.
        run_id: Of the run.
        checkpoints: Name and step of those that it wrote before it was resumed.
        step: From which it goes on.

    Returns:
        What it owns, by name: not the names that another run has taken since, but what its
        checkpoints were renamed to then.
    """
    runs = read_runs(folder)
    others = [run for run in runs if run['id'] != run_id]
    taken = {name for run in others for name in _files_of(run)}
    before = {}
    for run in runs:
        if run['id'] == run_id:
            before.update(_files_of(run))
    candidates = {
        **{name: number for name, number in before.items() if _ASIDE in name and number <= step},
        **{name: number for name, number in checkpoints.items() if name not in taken},
    }
    owned = {name: number for name, number in candidates.items() if Path(folder, name).exists()}
    superseded = {
        name: number
        for name, number in before.items()
        if name not in owned and Path(folder, name).exists()
    }
    run = dict(id=run_id, checkpoints=owned, superseded=superseded)
    _write_runs(folder, [*others, run])
    return owned


def _files_of(run: dict) -> dict[str, int]:
    return {**run['superseded'], **run['checkpoints']}


def current_name(name: str, owned: dict[str, int]) -> str | None:
    """Return what a run's checkpoint is called now; None where it is not the run's any more."""
    renamed = [other for other in owned if other.startswith(f'{name}{_ASIDE}')]
    return name if name in owned else max(renamed, default=None)


def claim_name(folder: Path, run_id: str, name: str, step: int) -> str | None:
    """Make a name a run's own, before the checkpoint is written.

    A file of that name which this run does not continue from is renamed first: a process that is
    killed now must not leave it under the wrong run.

    Args:
        folder: Of the checkpoints.
        run_id: Of the run.
        name: Of the file.
        step: Iteration or epoch.

    Returns:
        What that file is called now; None where there was none.
    """
    runs = read_runs(folder)
    own = next((run for run in runs if run['id'] == run_id), None)
    if own is None:  # the folder was emptied meanwhile
        own = dict(id=run_id, checkpoints={}, superseded={})
        runs.append(own)
    if own['checkpoints'].get(name) == step:
        return None
    aside = None
    if name not in own['checkpoints'] and Path(folder, name).exists():
        owner = next((run for run in runs if name in _files_of(run)), None)
        aside = _set_aside(Path(folder, name), owner)
        for kind in ('checkpoints', 'superseded'):
            if owner is not None and name in owner[kind]:
                owner[kind][aside] = owner[kind].pop(name)
    for run in runs:
        run['checkpoints'].pop(name, None)
        run['superseded'].pop(name, None)
    own['checkpoints'][name] = step
    _write_runs(folder, runs)
    return aside


def _set_aside(path: Path, owner: dict | None) -> str:
    """Give a checkpoint a name that no run writes, and return it."""
    name = f'{path.name}{_ASIDE}{owner["id"] if owner else "earlier"}'
    number = 1
    while path.with_name(name).exists():
        number += 1
        name = f'{path.name}{_ASIDE}{owner["id"] if owner else "earlier"}-{number}'
    path.rename(path.with_name(name))
    return name


def forget_checkpoint(folder: Path, run_id: str, name: str) -> None:
    """Note that a run has removed one of its checkpoints."""
    runs = read_runs(folder)
    for run in runs:
        if run['id'] == run_id:
            run['checkpoints'].pop(name, None)
    _write_runs(folder, runs)


def _write_runs(folder: Path, runs: list[dict]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(Path(folder, RECORD), json.dumps(dict(runs=runs), indent=1).encode())
