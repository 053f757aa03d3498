"""The checkpoint that a run resumes from."""

import re
from pathlib import Path

from mmengine.config import Config

from mmseg_pan.errors import UserError
from mmseg_pan.weights.trust import check_readable, check_trusted, find_damage


def checkpoints(work_dir: str | Path) -> list[Path]:
    """List a folder's checkpoints, the latest iteration (or epoch) first.

    Their names say it, so that neither a moved work dir nor a stale pointer matters.
    """
    found = [
        (int(match[1]), path)
        for path in Path(work_dir).glob('*.pth')
        if (match := re.fullmatch(r'(?:iter|epoch)_(\d+)\.pth', path.name))
    ]
    return [path for _, path in sorted(found, reverse=True)]


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
        return 'Starts from iteration 0.'
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
            return f'Starts from iteration 0: no checkpoint in {cfg.work_dir} to resume.'
        if checkpoint is None:
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
