"""Convert a source of annotations to images, masks and a config.

The order of work: recognise the format; read all annotations into records; give the classes ids;
divide the images; write pairs; write the config last. A hidden list of what was written marks the
folder as an output: a rerun compares, writes what is new or changed, and removes what it wrote
earlier and the source no longer has.
"""

import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from mmseg_pan.errors import UserError
from mmseg_pan.files import disk_errors_explained, exclusive, remove_leftovers, write_whole
from mmseg_pan.outputs import check_writable
from mmseg_pan.parallel import available_cores, map_files

from .classes import ClassTable, divide, make_class_table
from .coco import read_coco
from .image_pairs import Outcome, Task, convert_pair, make_tasks, short_hash
from .label_studio import read_label_studio
from .labelme import read_labelme
from .mask_folders import read_masks
from .own_config import Facts, write_config
from .recognition import AnnotationSource, recognise
from .records import Collected

_LIST = '.mmseg_pan_annotations.json'
_SPLITS = ('train', 'val', 'test')
_ORDER = 'labels.txt'
_MOST_NOTES = 30


#: What turns a source of each format into records; masks take a table as well.
READERS = {'labelme': read_labelme, 'coco': read_coco, 'label-studio': read_label_studio}


@dataclass(frozen=True)
class Options:
    """What the user may choose.

    Args:
        kind: One of :data:`~mmseg_pan.annotations.recognition.FORMATS`; None: found out.
        labels: File of class names in their order, or the table of values or colours of masks.
        unlabelled: 'background' or 'ignore'.
        val_share: Share of the images for validation, where the source has no split.
        group: What images of one group have in common in their names.
        network: 'small', 'large' or 'auto', by the machine.
        processes: Number of worker processes; None: all cores.
    """

    kind: str | None = None
    labels: Path | None = None
    unlabelled: str = 'background'
    val_share: float = 0.2
    group: re.Pattern | None = None
    network: str = 'auto'
    processes: int | None = None


def convert_annotations(
    path: Path, out: Path, options: Options, say: Callable[[str], None] = print
) -> None:
    """Write ``config.py``, ``images`` and ``masks``, with a folder for each split.

    Args:
        path: Folder or file of annotations.
        out: Output folder.
        options: Choices.
        say: Receives one line of text at a time.

    Raises:
        UserError: If the source is missing, unknown, or holds nothing to train on, or the
            output folder is another one's.
    """
    if not path.exists():
        raise UserError(f'{path} does not exist; give a folder of annotations or a JSON file.')
    if options.labels and not options.labels.is_file():
        raise UserError(f'--labels {options.labels} is no file; give one with a class a line.')
    earlier = _check_out(path, out)
    source = AnnotationSource(path, out)
    kind = options.kind or recognise(source)
    collected = _collect(kind, source, options)
    if not collected.records:
        name, reason = (collected.left_out or [('', 'no annotation was found')])[0]
        raise UserError(f'{path} has nothing to convert as {kind}: {name} {reason}.'[:298])
    order = None if kind == 'masks' else options.labels or _order_file(source)
    table = make_class_table(collected, order, options.unlabelled, str(path))
    splits = divide(collected.records, options.val_share, options.group)
    tasks = make_tasks(collected.records, splits)
    fresh = not out.exists()
    with disk_errors_explained(out):
        out.mkdir(parents=True, exist_ok=True)
        try:
            with exclusive(out):
                _write_data(out, tasks, table, collected, earlier, options, kind, say)
        except BaseException:
            if fresh:
                shutil.rmtree(out, ignore_errors=True)
            raise


def _collect(kind: str, source: AnnotationSource, options: Options) -> Collected:
    if kind == 'masks':
        return read_masks(source, options.labels)
    return READERS[kind](source)


def _check_out(path: Path, out: Path) -> dict:
    """What an earlier run wrote into the output folder."""
    real, inside = Path(os.path.realpath(out)), Path(os.path.realpath(path))
    if real == inside or real in inside.parents:
        raise UserError(f'--out {out} is, or holds, the source {path}; choose another folder.')
    check_writable(out)
    if not out.is_dir() or not any(out.iterdir()):
        return {}
    file = out / _LIST
    if not file.is_file():
        raise UserError(
            f'--out {out} holds files that this tool did not write; choose a new folder.'
        )
    try:
        earlier = json.loads(file.read_text())
        files = [name for name in earlier['files'] if _is_own(name)]
        return dict(files=files, config=str(earlier['config']))
    except (ValueError, KeyError, TypeError):
        return {}


def _is_own(name: str) -> bool:
    """Whether a name of the list can be a file that was written, and so may be removed."""
    first, *others = name.split('/')
    return '..' not in others and (first in ('images', 'masks') or not others)


def _order_file(source: AnnotationSource) -> Path | None:
    file = source.root / _ORDER
    return file if file.is_file() else None


def _write_data(
    out: Path,
    tasks: list[Task],
    table: ClassTable,
    collected: Collected,
    earlier: dict,
    options: Options,
    kind: str,
    say: Callable[[str], None],
) -> None:
    for folder in [out, *(path for path in out.rglob('*') if path.is_dir())]:
        remove_leftovers(folder)
    written_earlier = set(earlier.get('files', ()))
    _save_list(out, written_earlier, earlier.get('config', ''))
    convert = partial(convert_pair, out, table)
    outcomes = list(map_files(convert, tasks, options.processes or available_cores(), 'Images'))
    outcomes.sort(key=lambda outcome: (outcome.task.split, outcome.task.stem))
    done = [outcome for outcome in outcomes if not outcome.reason]
    refused = [(o.task.record.origin, o.reason) for o in outcomes if o.reason]
    collected.left_out = sorted(collected.left_out + refused)
    files = {name for outcome in done for name in outcome.files}
    _save_list(out, written_earlier | files, earlier.get('config', ''))
    _check_splits(done, collected)
    facts = _gather_facts(done, table, options)
    files |= _save_lists(out, done) if facts.needs_lists else set()
    gone = sorted(written_earlier - files)
    for name in gone:
        (out / name).unlink(missing_ok=True)
    os.sync()  # one barrier instead of a flush for each file
    text = write_config(facts)
    kept = _save_config(out, text, earlier.get('config', ''))
    _save_list(out, files, kept or short_hash(text))
    _report(out, done, gone, table, collected, kind, facts, say)
    if kept:
        say(f'{out / "config.py"} was edited and is kept; delete it to get a new one.')


def _check_splits(done: list[Outcome], collected: Collected) -> None:
    counts = Counter(outcome.task.split for outcome in done)
    for split in ('train', 'val'):
        if not counts[split]:
            example = ''
            if collected.left_out:
                example = ' ({}: {})'.format(*collected.left_out[0])[:150]
            raise UserError(
                f'{len(done)} images can be used, none of them for {split}, and '
                f'{len(collected.left_out)} were left out{example}; annotate at least two images, '
                'or choose another --val-share.'
            )


def _save_list(out: Path, files: set[str], config: str) -> None:
    text = json.dumps(dict(files=sorted(files), config=config), ensure_ascii=False, indent=0)
    write_whole(out / _LIST, text.encode('utf-8', 'surrogateescape'))


def _save_lists(out: Path, done: list[Outcome]) -> set[str]:
    """Write the names of the images of each split, with their suffixes."""
    files = set()
    for split in {outcome.task.split for outcome in done}:
        folder = f'images/{split}/'
        names = [o.files[0].removeprefix(folder) for o in done if o.task.split == split]
        write_whole(out / f'{split}.txt', ''.join(f'{name}\n' for name in names).encode())
        files.add(f'{split}.txt')
    return files


def _save_config(out: Path, text: str, earlier: str) -> str:
    """Write the config, unless the user has edited the earlier one.

    Returns:
        Hash of what was written earlier, if the config is kept; else an empty string.
    """
    file = out / 'config.py'
    if file.is_file() and short_hash(file.read_text(encoding='utf-8', errors='replace')) != earlier:
        if earlier:
            return earlier
    write_whole(file, text.encode())
    return ''


def _gather_facts(done: list[Outcome], table: ClassTable, options: Options) -> Facts:
    train = [outcome for outcome in done if outcome.task.split == 'train']
    suffixes = {Path(outcome.files[0]).suffix for outcome in done}
    splits = {outcome.task.split for outcome in done}
    return Facts(
        names=table.names,
        palette=table.palette,
        sizes=[outcome.size for outcome in train],
        pixels=np.array([outcome.pixels[: len(table.names)] for outcome in train]),
        suffixes=sorted(suffixes),
        has_test='test' in splits,
        network=options.network,
        val_images=sum(outcome.task.split == 'val' for outcome in done),
    )


def _report(
    out: Path,
    done: list[Outcome],
    gone: list[str],
    table: ClassTable,
    collected: Collected,
    kind: str,
    facts: Facts,
    say: Callable[[str], None],
) -> None:
    for name, reason in collected.left_out:
        say(_printable(f'Left out: {name}: {reason}.'))
    for name, reason in collected.notes[:_MOST_NOTES]:
        say(_printable(f'Note: {name}: {reason}.'))
    if len(collected.notes) > _MOST_NOTES:
        say(f'Note: {len(collected.notes) - _MOST_NOTES} more parts of annotations like these.')
    counts = Counter(outcome.task.split for outcome in done)
    written = sum(outcome.written for outcome in done)
    parts = ', '.join(f'{counts[split]} {split}' for split in _SPLITS if counts[split])
    say(
        f'{len(done)} images from {kind} ({parts}): {written} written, {len(done) - written} '
        f'unchanged, {len(collected.left_out)} left out'
        + (f', {len(gone)} files removed that the source no longer has.' if gone else '.')
    )
    by_split = {
        split: np.array([o.pixels > 0 for o in done if o.task.split == split]).reshape(-1, 256)
        for split in _SPLITS
    }
    share = facts.pixels.sum(0) / max(facts.pixels.sum(), 1)
    for index, name in enumerate(table.names):
        found = ', '.join(
            f'{split} {by_split[split][:, index].sum()}' for split in _SPLITS if counts[split]
        )
        say(f'  {index} {name}: {share[index]:.2%} of the pixels; images: {found}')
    for split, effect in (('train', 'be learnt'), ('val', 'be validated')):
        lacking = [
            name for index, name in enumerate(table.names) if not by_split[split][:, index].any()
        ]
        if lacking:
            say(f'No image of {split} has {", ".join(map(repr, lacking))}, which cannot {effect}.')
    say(f'Config: {out / "config.py"}')


def _printable(text: str) -> str:
    """A line as UTF-8 takes it: names of files may hold other bytes."""
    return ' '.join(text.encode('utf-8', 'backslashreplace').decode().split())
