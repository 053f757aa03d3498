"""The checkpoint that a run resumes from."""

import re
import string
from pathlib import Path

from mmengine.config import Config

from mmseg_pan.errors import UserError
from mmseg_pan.weights.trust import check_readable, check_trusted, find_damage

from .run_record import read_runs

# As mmengine's CheckpointHook calls them.
_TEMPLATES = ('iter_{}.pth', 'epoch_{}.pth')


def checkpoint_folder(cfg: Config) -> tuple[Path, str | None]:
    """Return where a config's checkpoints are on this machine, and the template of their names.

    Raises:
        UserError: If they are on another machine.
    """
    hook = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    folder, template = Path(cfg.work_dir), hook.get('filename_tmpl')
    out_dir = hook.get('out_dir')
    if out_dir is None or Path(out_dir) == folder.absolute():
        return folder, template
    if '://' in str(out_dir):
        raise UserError(
            f'--resume cannot look for checkpoints in {out_dir}; copy the newest one to this '
            'machine and type "--resume FILE", or omit --resume to start from scratch.'
        )
    return Path(out_dir, folder.absolute().name), template  # as mmengine's CheckpointHook


def checkpoints(folder: str | Path, template: str | None = None) -> list[Path]:
    """List the checkpoints of a folder's newest run, the latest iteration (or epoch) first.

    The newest run is the one that was started or resumed last. A folder of 0.1.0 has no record
    of its runs: there all checkpoints count, by the numbers in their names.

    Args:
        folder: Of the checkpoints.
        template: ``filename_tmpl`` of the checkpoint hook; by default mmengine's.
    """
    runs = read_runs(folder)
    found = (
        [(step, Path(folder, name)) for name, step in runs[-1]['checkpoints'].items()]
        if runs
        else _numbered(folder, template)
    )
    return [
        path
        for _, path in sorted(found, reverse=True)
        if path.is_file() and _is_step(path.name, template)
    ]


def _is_step(name: str, template: str | None) -> bool:
    """Whether it is no best checkpoint: those hold no optimizer."""
    own = template and _pattern(Path(template).name).fullmatch(name)
    return bool(own) or not name.startswith('best_')


def _numbered(folder: str | Path, template: str | None) -> list[tuple[int, Path]]:
    """List number and file of all checkpoints by their names, the lowest number first."""
    patterns = [_pattern(Path(one).name) for one in ([template] if template else _TEMPLATES)]
    folder = Path(folder, template).parent if template else Path(folder)
    there = folder.iterdir() if folder.is_dir() else ()
    return sorted(
        (int((match.groups() or (0,))[0]), path)
        for path in there
        for pattern in patterns
        if (match := pattern.fullmatch(path.name))
    )


def _pattern(template: str) -> re.Pattern:
    """Return the names that a template such as 'iter_{:06d}.pth' gives, the number as a group."""
    parts = [
        re.escape(text) + ('' if field is None else r'0*(\d+)')
        for text, field, *_ in string.Formatter().parse(template)
    ]
    return re.compile(''.join(parts))


def set_resume(cfg: Config, choice: str | None, unsafe: bool = False) -> str:
    """Settle from which checkpoint a training run goes on.

    Args:
        cfg: Config, changed in place.
        choice: None: start from scratch. 'newest': the newest checkpoint of the work dir.
            'auto': the same, or a fresh start where there is none. Else a file.
        unsafe: Whether the checkpoint may run code.

    Returns:
        What it starts from, and which damaged checkpoints were left out, in sentences.

    Raises:
        UserError: If the checkpoint does not exist, or there are damaged ones only.
    """
    cfg.resume = False
    if choice is None:
        return f'Starts from iteration 0.{_others_kept(cfg)}'
    reports = []
    if choice in ('newest', 'auto'):
        folder, template = checkpoint_folder(cfg)
        checkpoint, reports = _newest_whole(folder, template)
        if checkpoint is None and choice == 'auto' and not reports:
            return f'Starts from iteration 0: no checkpoint of this run in {folder}.'
        if checkpoint is None:
            _refuse_without(folder, template, reports)
        check_trusted(checkpoint, unsafe)  # it was read for damage above
    else:
        checkpoint = Path(choice)
        if not checkpoint.is_file():
            raise UserError(
                f'The checkpoint {checkpoint} to resume does not exist; give a .pth file, or type '
                '"--resume" alone for the newest one of the work dir.'
            )
        check_readable(checkpoint, unsafe)
    cfg.resume = True
    cfg.load_from = str(checkpoint)
    return ' '.join([*reports, f'Resumes {checkpoint}.'])


def _newest_whole(folder: Path, template: str | None) -> tuple[Path | None, list[str]]:
    """Return the newest intact checkpoint, and a message for each damaged one."""
    reports = []
    for candidate in checkpoints(folder, template):
        damage = find_damage(candidate)
        if damage is None:
            return candidate, reports
        reports.append(f'The checkpoint {candidate} is damaged ({damage}) and skipped.')
    return None, reports


def _refuse_without(folder: Path, template: str | None, reports: list[str]) -> None:
    others = [path for _, path in _numbered(folder, template)]
    if others and not reports:
        raise UserError(
            f'The newest run in {folder} has saved no checkpoint; {others[-1].name} is of another '
            f'run: resume it with "--resume {others[-1]}", or omit --resume to start from scratch.'
        )
    raise UserError(
        f'There is no {"intact " if reports else ""}checkpoint in {folder} to resume; '
        + (' '.join(reports) + ' Remove them' if reports else 'omit --resume')
        + ', or type "--resume auto" to start from scratch if there is none.'
    )


def _others_kept(cfg: Config) -> str:
    hook = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    if '://' in str(hook.get('out_dir')):
        return ''
    folder, template = checkpoint_folder(cfg)
    there = _numbered(folder, template)
    if not there:
        return ''
    name = there[-1][1].name
    return (
        f' {folder} holds checkpoints of another run ({name}): they are kept, and one whose name '
        f'this run needs is renamed, for example to {name}.of-run-ID.'
    )
