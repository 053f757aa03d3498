"""Inputs on the command line (files, folders, glob patterns), and their outputs."""

import glob
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path

from mmseg_pan.datasets.lists import IMAGE_SUFFIXES, is_image_name, walk_files
from mmseg_pan.errors import UserError
from mmseg_pan.outputs import check_result, check_writable, fitting_name

from .videos import check_frames

VIDEO_SUFFIXES = frozenset('.avi .mkv .mov .mp4'.split())


@dataclass(frozen=True)
class Source:
    """One image or video.

    Args:
        path: The file.
        name: Its name below the output folder, without suffix.
    """

    path: Path
    name: Path

    @property
    def is_video(self) -> bool:
        """Whether its suffix is a video's."""
        return self.path.suffix.lower() in VIDEO_SUFFIXES

    def target(self, out: Path, kind: str) -> Path:
        """The file, or for a video's single frames the folder, that its results go to.

        Args:
            out: Output folder.
            kind: A format of :mod:`mmseg_pan.inference.pictures`.
        """
        suffix = '.png' if not self.is_video else '.mp4' if kind == 'overlay' else ''
        return out / self.name.with_name(fitting_name(self.name.name, suffix))


def find_sources(arguments: Sequence[str], out: Path, kind: str) -> list[Source]:
    """List images and videos; each file once, those of a folder by name.

    Hidden files and the output folder are left out of folders and patterns.

    Args:
        arguments: Files, folders and glob patterns; ``**`` goes into sub-folders.
        out: Output folder.
        kind: Format of the results, see :meth:`Source.target`.

    Where two would have one result, such as a.jpg and a.png, both keep their suffix in its name.

    Raises:
        UserError: If an argument stands for nothing, two results would have one name, or a
            result would take the place of an input or of a file that is no result.
    """
    found = {}
    for argument in arguments:
        for source in _expand(argument, out):
            found.setdefault(os.path.abspath(source.path), source)
    sources = _told_apart(list(found.values()), out, kind)
    check_writable(out)
    _check_targets(sources, out, kind)
    return sources


def _expand(argument: str, out: Path) -> Iterator[Source]:
    path = Path(argument)
    if path.is_dir():
        if os.path.realpath(path) == os.path.realpath(out):
            raise UserError(
                f'{out} is the folder of the images, and the next run would mistake the '
                'outputs for images; give another folder with --out.'
            )
        sources = list(_walk(path, out))
        if not sources:
            raise UserError(
                f'{path} holds no image or video ({", ".join(sorted(IMAGE_SUFFIXES))}; '
                f'{", ".join(sorted(VIDEO_SUFFIXES))}); name another folder.'
            )
        yield from sources
    elif os.path.lexists(path):
        yield Source(path, Path(path.stem))
    elif glob.has_magic(argument):
        matches = list(_match(argument, out))
        if not matches:
            raise UserError(
                f'No image or video fits the pattern {argument}; try it with "ls", or name the '
                'folder.'
            )
        yield from matches
    else:
        raise UserError(f'{path} does not exist; name images, videos, folders or patterns.')


def _walk(folder: Path, out: Path) -> Iterator[Source]:
    real_out = os.path.realpath(out)
    misnamed = []

    def enter(path: Path) -> bool:
        # A folder named like an image is reported as a broken image, not entered.
        if _is_known(path.name):
            misnamed.append(path)
            return False
        return os.path.realpath(path) != real_out

    files = [path for path in walk_files(folder, enter) if _is_known(path.name)]
    for path in sorted(files + misnamed):
        yield Source(path, path.relative_to(folder).with_suffix(''))


def _match(pattern: str, out: Path) -> Iterator[Source]:
    """Keep in the names what lies below the part of a pattern that has no wildcards."""
    base = Path(*takewhile(lambda part: not glob.has_magic(part), Path(pattern).parts))
    out = Path(os.path.realpath(out))
    for match in sorted(glob.iglob(pattern, recursive=True)):
        path = Path(match)
        if _is_known(path.name) and out not in Path(os.path.realpath(path)).parents:
            yield Source(path, path.relative_to(base).with_suffix(''))


def _is_known(name: str) -> bool:
    return is_image_name(name) or os.path.splitext(name)[1].lower() in VIDEO_SUFFIXES


def _check_targets(sources: list[Source], out: Path, kind: str) -> None:
    makers, folders = {}, {}
    for source in sources:
        target = source.target(out, kind)
        if target in makers:
            raise _same_name(makers[target], source, target)
        makers[target] = source
        if source.is_video and kind != 'overlay':
            folders[target] = source
    for target, source in makers.items() if folders else ():
        for parent in target.parents:
            if parent in folders:
                raise _same_name(folders[parent], source, parent)
    inputs = {_identity(source.path): source.path for source in sources}
    for target, source in makers.items():
        if source.is_video and kind != 'overlay':
            check_frames(target)
        elif os.path.lexists(target):
            taken = inputs.get(_identity(target))
            check_result(target, [taken] if taken else [])


def _identity(path: Path) -> tuple | str:
    """What a file has in common with its links."""
    try:
        found = path.stat()
    except OSError:
        return os.path.realpath(path)
    return found.st_dev, found.st_ino


def _told_apart(sources: list[Source], out: Path, kind: str) -> list[Source]:
    """Keep the suffixes of inputs that differ in nothing else."""
    groups = defaultdict(list)
    for source in sources:
        groups[source.target(out, kind)].append(source)
    others = {}
    for group in groups.values():
        if len(group) == len({source.path.suffix for source in group}) > 1:
            for source in group:
                name = source.name.with_name(source.name.name + source.path.suffix)
                others[source] = replace(source, name=name)
    return [others.get(source, source) for source in sources]


def _same_name(first: Source, second: Source, target: Path) -> UserError:
    return UserError(
        f'{first.path} and {second.path} would both be written to {target}; name the folder '
        'above them, whose sub-folders are kept, or one of the two.'
    )
