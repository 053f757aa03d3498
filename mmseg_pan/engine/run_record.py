"""Which run of a work dir has written which checkpoint."""

import json
import uuid
from pathlib import Path

from mmseg_pan.errors import UserError
from mmseg_pan.files import write_whole

#: Beside the checkpoints: {"runs": [{"id": ..., "checkpoints": {name: step}}, ...]}, the run that
#: was started or resumed last at the end.
RECORD = 'runs.json'


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
            dict(id=run['id'], checkpoints=dict(run['checkpoints']))
            for run in json.loads(file.read_text())['runs']
        ]
    except (ValueError, KeyError, TypeError):
        raise UserError(
            f'{file} is damaged: it must list the runs of this folder; remove it and name the '
            'checkpoint with "--resume FILE".'
        ) from None


def begin_run(folder: Path, run_id: str, checkpoints: dict[str, int]) -> None:
    """Make a run the newest of a folder.

    Args:
        folder: Of the checkpoints.
        run_id: Of the run.
        checkpoints: Name and step of those that it wrote before it was resumed.
    """
    others = [run for run in read_runs(folder) if run['id'] != run_id]
    _write_runs(folder, [*others, dict(id=run_id, checkpoints=checkpoints)])


def note_checkpoint(folder: Path, run_id: str, name: str, step: int, written: bool) -> None:
    """Note that a checkpoint belongs to a run.

    Args:
        folder: Of the checkpoints.
        run_id: Of the run.
        name: Of the file.
        step: Iteration or epoch.
        written: Whether it lies there already. Else a checkpoint of another run that has this
            name is removed: a process that is killed now must not leave it under the wrong run.
    """
    runs = read_runs(folder)
    own = next((run for run in runs if run['id'] == run_id), None)
    if own is None:  # the folder was emptied meanwhile
        own = dict(id=run_id, checkpoints={})
        runs.append(own)
    if own['checkpoints'].get(name) == step:
        return
    if not written and name not in own['checkpoints']:
        Path(folder, name).unlink(missing_ok=True)
    for run in runs:
        run['checkpoints'].pop(name, None)
    own['checkpoints'][name] = step
    _write_runs(folder, runs)


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
