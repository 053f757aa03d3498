"""The checkpoint that a run resumes from."""

import re
from pathlib import Path

from mmengine.config import Config

from mmseg_pan.errors import UserError
from mmseg_pan.weights.trust import check_readable, check_trusted, find_damage

from .run_record import read_runs


def checkpoints(work_dir: str | Path) -> list[Path]:
    """List the checkpoints of a folder's newest run, the latest iteration (or epoch) first.

    The newest run is the one that was started or resumed last. A work dir of 0.1.0 has no record
    of its runs: there all checkpoints count, by the numbers in their names.
    """
    runs = read_runs(work_dir)
    found = (
        [(step, Path(work_dir, name)) for name, step in runs[-1]['checkpoints'].items()]
        if runs
        else _numbered(work_dir)
    )
    return [path for _, path in sorted(found, reverse=True) if path.is_file() and _is_step(path)]


def _is_step(path: Path) -> bool:
    return not path.name.startswith('best_')  # those hold no optimizer


def _numbered(folder: str | Path) -> list[tuple[int, Path]]:
    return [
        (int(match[1]), path)
        for path in Path(folder).glob('*.pth')
        if (match := re.fullmatch(r'(?:iter|epoch)_(\d+)\.pth', path.name))
    ]


def _others(work_dir: str | Path) -> list[str]:
    """Name the checkpoints of a folder that its newest run has not written."""
    own = {path.name for path in checkpoints(work_dir)}
    return [path.name for _, path in sorted(_numbered(work_dir)) if path.name not in own]


def set_resume(cfg: Config, choice: str | None, unsafe: bool = False) -> str:
    """Settle from which checkpoint a training run goes on.

    Args:
        cfg: Config, changed in place.
        choice: None: start afresh. 'newest': the newest checkpoint of the work dir.
            'auto': the same, or a fresh start where there is none. Else a file.
        unsafe: Whether the checkpoint may run code.

    Returns:
        What it starts from, and which damaged checkpoints were left out, in sentences.

    Raises:
        UserError: If the checkpoint is not there, or there are damaged ones only.
    """
    cfg.resume = False
    if choice is None:
        there = [path.name for _, path in sorted(_numbered(cfg.work_dir))]
        return 'Starts from iteration 0.' + (
            f' {cfg.work_dir} holds checkpoints of another run ({there[-1]}): they are kept, but '
            'this run overwrites those that have the names of its own.'
            if there
            else ''
        )
    reports = []
    if choice in ('newest', 'auto'):
        checkpoint = None
        for candidate in checkpoints(cfg.work_dir):
            damage = find_damage(candidate)
            if damage is None:
                checkpoint = candidate
                break
            reports.append(f'The checkpoint {candidate} is damaged ({damage}) and left out.')
        if checkpoint is None and choice == 'auto' and not reports:
            return f'Starts from iteration 0: no checkpoint of this run in {cfg.work_dir}.'
        if checkpoint is None:
            others = _others(cfg.work_dir)
            if others and not reports:
                raise UserError(
                    f'The newest run in {cfg.work_dir} has saved no checkpoint; {others[-1]} is of '
                    f'another run: resume it with "--resume {Path(cfg.work_dir, others[-1])}", or '
                    'leave --resume out to start afresh.'
                )
            raise UserError(
                f'There is no {"whole " if reports else ""}checkpoint in {cfg.work_dir} to resume; '
                + (' '.join(reports) + ' Remove them' if reports else 'leave --resume out')
                + ', or type "--resume auto" to start afresh where there is none.'
            )
        check_trusted(checkpoint, unsafe)  # it was read for damage above
    else:
        checkpoint = Path(choice)
        if not checkpoint.is_file():
            raise UserError(
                f'The checkpoint {checkpoint} to resume is not there; give a .pth file, or type '
                '"--resume" alone for the newest one of the work dir.'
            )
        check_readable(checkpoint, unsafe)
    cfg.resume = True
    cfg.load_from = str(checkpoint)
    return ' '.join([*reports, f'Resumes {checkpoint}.'])
