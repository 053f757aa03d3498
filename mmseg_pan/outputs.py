"""Output names, and checks that outputs do not overwrite other files."""

import hashlib
import mmap
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryFile

from PIL.PngImagePlugin import PngInfo

from mmseg_pan.errors import UserError
from mmseg_pan.files import disk_errors_explained

#: Every output contains these bytes. Only such files are overwritten.
MARK = 'written by mmseg_pan'

#: Maximum length of a file name in bytes on common file systems.
LONGEST = 255


def name_output(
    out: str | Path,
    *suffixes: str,
    inputs: Iterable[str | Path] = (),
    mark: str = MARK,
    option: str = '--out',
) -> Path:
    """Determine the name of an output before the work begins.

    Args:
        out: As the user typed it.
        *suffixes: What the name may end in. The first one is added to any other name, so that
            'pan.v1' becomes 'pan.v1.onnx'. Without any, the name stays as it is.
        inputs: Files that the tool reads.
        mark: Bytes that an earlier output of this kind contains, see :func:`is_result`.
        option: Where the user typed it, for messages.

    Returns:
        The file to write.

    Raises:
        UserError: If it is an input, a folder, or a file that is no result, or its folder
            cannot be written.
    """
    out = Path(out)
    if suffixes and not out.name.lower().endswith(suffixes):
        out = out.with_name(f'{out.name}{suffixes[0]}')
    check_writable(out.parent, option)
    check_result(out, inputs, mark, option)
    return out


def check_result(
    file: Path,
    inputs: Iterable[str | Path] = (),
    mark: str = MARK,
    option: str = '--out',
) -> None:
    """Check that an output does not overwrite another file.

    Raises:
        UserError: If ``file`` is an input (through links as well), a folder, or a file that
            is no result.
    """
    _check_length(file, option)
    if not os.path.lexists(file):
        return
    for path in inputs:
        if _same(file, path):
            raise UserError(
                f'The output {file} would overwrite the input {path}; choose another {option}.'
            )
    if file.is_dir():
        raise UserError(f'{option}: {file} is a folder; name a file, or another folder.')
    if not is_result(file, mark):
        raise UserError(
            f'{file} was not written by this tool and is not overwritten; move it away, or choose '
            f'another {option}.'
        )


def check_folder(folder: str | Path, owned: Iterable[str | Path], option: str = '--out') -> None:
    """Check that outputs do not go into the folders of a data set.

    Folders below those of the data set are refused as well: where it reads sub-folders, it
    would mistake the outputs for its own files.

    Args:
        folder: Where results go.
        owned: Folders of the data set's images and masks.
        option: Where the user typed it, for messages.

    Raises:
        UserError: If the folder is one of them or lies below one, or cannot be written.
    """
    place = Path(os.path.realpath(folder))
    for owner in sorted({Path(os.path.realpath(path)) for path in owned}):
        if owner == place or owner in place.parents or _same(owner, place):
            raise UserError(
                f"{option} {folder}: {owner} holds the data set's own files, and outputs would "
                'overwrite them or be mistaken for them; choose another folder.'
            )
    check_writable(folder, option)


def check_writable(folder: str | Path, option: str = '--out') -> None:
    """Check that a folder, which need not exist yet, can be written.

    Raises:
        UserError: If the user lacks the right, the disk is full, or a file is in the way.
    """
    there = Path(folder)
    _check_length(there, option)
    while not os.path.lexists(there) and there != there.parent:
        there = there.parent
    if not there.is_dir():
        raise UserError(
            f'{option} {folder}: {there} is a file, but outputs need a folder of that name; choose '
            'another.'
        )
    with disk_errors_explained(there):
        TemporaryFile(dir=there).close()


def is_result(file: str | Path, mark: str = MARK) -> bool:
    """Whether a file may be overwritten: it contains the mark, or is empty."""
    try:
        with (
            open(file, 'rb') as opened,
            mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            return content.find(mark.encode()) >= 0
    except ValueError:  # an empty file cannot be mapped
        return True
    except OSError:
        return False


def png_mark() -> PngInfo:
    """The mark as a text chunk, for ``Image.save(..., pnginfo=...)``."""
    info = PngInfo()
    info.add_text('Comment', MARK)
    return info


def fitting_name(stem: str, suffix: str = '') -> str:
    """Return a valid file name: a long one is truncated, and its hash appended.

    Args:
        stem: Name without suffix.
        suffix: It is kept.
    """
    if len(os.fsencode(stem + suffix)) <= LONGEST:
        return stem + suffix
    ending = f'-{hashlib.sha256(os.fsencode(stem)).hexdigest()[:12]}{suffix}'
    room = LONGEST - len(os.fsencode(ending))
    return os.fsencode(stem)[:room].decode('utf-8', 'ignore') + ending


def _check_length(path: Path, option: str) -> None:
    for part in path.parts:
        if len(os.fsencode(part)) > LONGEST:
            raise UserError(
                f'{option}: the name {part[:40]}… is longer than the {LONGEST} bytes that a disk '
                'allows; choose a shorter one.'
            )


def result_names(paths: Iterable[Path], suffix: str = '') -> dict[Path, Path]:
    """Return the output names: those of the inputs, with another suffix.

    If two inputs differ only in their suffix, both keep it: 'a.jpg.png', 'a.tif.png'.

    Args:
        paths: Names of inputs, relative to the folder of the results.
        suffix: Of the results.
    """
    paths = list(dict.fromkeys(paths))
    counts = Counter(path.with_suffix('') for path in paths)
    stems = {path: path.stem if counts[path.with_suffix('')] == 1 else path.name for path in paths}
    return {path: path.with_name(fitting_name(stem, suffix)) for path, stem in stems.items()}


def _same(file: str | Path, other: str | Path) -> bool:
    try:
        return os.path.samefile(file, other)
    except OSError:
        return False
