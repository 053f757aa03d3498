"""Untrusted archives: verified, measured and unpacked safely."""

import hashlib
import os
import platform
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich import filesize

from mmseg_pan.errors import UserError
from mmseg_pan.parallel import progress_bar

from .manifest import ArchiveFacts, Manifest

_BLOCK = 2**20
_DRIVE = re.compile('[A-Za-z]:')
_AGAIN = 'download it again from its official page'


def is_tar(path: Path) -> bool:
    """Whether a file is a tar by its name; a damaged one would not tell by its bytes."""
    return path.name.lower().endswith(('.tar', '.tgz', '.tar.gz'))


def verify_checksum(path: Path, facts: ArchiveFacts) -> None:
    """Compare a file with its published MD5.

    Raises:
        UserError: If it differs.
    """
    digest = hashlib.md5(usedforsecurity=False)
    with open(path, 'rb') as file, progress_bar() as bar:
        shown = bar.add_task(f'Checksum of {path.name}', total=-(-path.stat().st_size // _BLOCK))
        while block := file.read(_BLOCK):
            digest.update(block)
            bar.advance(shown)
    if digest.hexdigest() != facts.md5:
        raise UserError(
            f'{path} ({filesize.decimal(path.stat().st_size)}) has the MD5 {digest.hexdigest()}, '
            f'and the official {facts.name} has {facts.md5}: the download is incomplete or it is '
            f'another file; {_AGAIN}.'
        )


def measure_tar(path: Path, wanted: Callable[[str], bool], manifest: Manifest) -> tuple[int, int]:
    """What unpacking would write, with every check of :func:`unpack_tar`.

    Returns:
        Number of files, and the bytes that they take on a disk with blocks of 4 KiB.
    """
    files = size = 0
    with _opened_tar(path) as archive:
        for member in _safe_members(archive, path, path.parent, manifest):
            if member.isfile() and wanted(member.name):
                files += 1
                size += -(-member.size // 4096) * 4096
    return files, size


def unpack_tar(
    path: Path, part: str, target: Path, wanted: Callable[[str], bool], manifest: Manifest
) -> None:
    """Unpack a folder of a tar; ``target`` appears only when complete.

    ``tarfile.data_filter`` refuses names and links that leave the folder, and devices.
    It does not know a limit of size or number, makes absolute names relative instead of
    refusing them, and follows existing links: here the limits are the
    manifest's, such names are refused, and no link is ever made.

    Args:
        path: The archive; its checksum is verified already.
        part: The folder inside the archive, such as ``VOCdevkit/VOC2012``.
        target: Where this folder goes, below the archive's own; it must not be there.
        wanted: Which names are unpacked.
        manifest: The limits.

    Raises:
        UserError: If the archive is broken or holds what a data set does not need.
    """
    staging = path.parent / f'.{target.name}.unpacking'
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir()
    try:
        with _opened_tar(path) as archive, progress_bar() as bar:
            shown = bar.add_task(f'Unpacking {path.name}', total=None)
            for member in _safe_members(archive, path, staging, manifest):
                if wanted(member.name):
                    _write_member(archive, member, path, staging)
                    bar.advance(shown)
        if not (staging / part).is_dir():
            raise UserError(f'{path} holds no folder {part}; {_AGAIN}.')
        # Thousands of small files: one barrier instead of a flush (4 ms) for each.
        os.sync()
        target.parent.mkdir(exist_ok=True)
        os.rename(staging / part, target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


@contextmanager
def _opened_tar(path: Path) -> Iterator[tarfile.TarFile]:
    """Open a tar; whatever its format is broken by becomes one sentence."""
    if not hasattr(tarfile, 'data_filter'):
        raise UserError(
            f'{path} cannot be unpacked safely by Python {platform.python_version()}, which has no '
            f'tarfile.data_filter; type "tar -xf {path}" and give the folder, or take the newest '
            'patch release of Python.'
        )
    try:
        with tarfile.open(path) as archive:
            yield archive
    except (tarfile.TarError, EOFError, zlib.error, ValueError) as error:
        if isinstance(error, UserError):
            raise
        first = str(error).splitlines()[0]  # the others tell of formats that it is not
        raise UserError(f'{path} is truncated or damaged ({first}); {_AGAIN}.') from error
    except OSError as error:  # gzip reports its damage as an OSError without a number
        if error.errno is not None:
            raise
        raise UserError(f'{path} is truncated or damaged ({error}); {_AGAIN}.') from error


def _safe_members(
    archive: tarfile.TarFile, path: Path, folder: Path, manifest: Manifest
) -> Iterator[tarfile.TarInfo]:
    count = size = 0
    for member in archive:
        count += 1
        size += member.size
        _check_limits(path, count, size, manifest)
        _check_name(path, member.name)
        try:
            tarfile.data_filter(member, str(folder))
        except tarfile.FilterError as error:
            raise UserError(
                f'{path} holds {member.name!r}, which does not belong into a data set '
                f'({error}); {_AGAIN}.'
            ) from error
        yield member
    # tarfile takes a file that was cut between two members for a complete one.
    archive.fileobj.seek(archive.offset)
    if archive.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise UserError(f'{path} is truncated (its end mark is missing); {_AGAIN}.')
    while archive.fileobj.read(_BLOCK):  # to the end, where gzip keeps its checksum
        pass


def _write_member(
    archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path, folder: Path
) -> None:
    target = folder / member.name
    if member.isdir():
        target.mkdir(parents=True, exist_ok=True)
    elif member.isreg():
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with archive.extractfile(member) as source, open(target, 'xb') as file:
                shutil.copyfileobj(source, file, _BLOCK)
        except FileExistsError:
            raise UserError(f'{path} holds {member.name!r} twice; {_AGAIN}.') from None
    else:
        raise UserError(f'{path} holds a link {member.name!r}, not a file; {_AGAIN}.')


def safe_zip_entries(path: Path, manifest: Manifest) -> list[zipfile.ZipInfo]:
    """The files of a zip, after the same checks.

    Raises:
        UserError: If the zip is broken or holds a name that leaves its folder, a link,
            an encrypted file, or more than the manifest allows.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    except (zipfile.BadZipFile, EOFError, ValueError) as error:
        raise UserError(f'{path} is truncated or damaged ({error}); download it again.') from error
    size = 0
    for count, entry in enumerate(entries, 1):
        size += entry.file_size
        _check_limits(path, count, size, manifest)
        _check_name(path, entry.orig_filename)
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise UserError(f'{path} holds a link {entry.filename!r}, not a file; {_AGAIN}.')
        if entry.flag_bits & 1:
            raise UserError(f'{path} is encrypted; unpack it and give the folder instead.')
    return entries


def _check_limits(path: Path, count: int, size: int, manifest: Manifest) -> None:
    if count > manifest.max_members:
        raise UserError(
            f'{path} holds more than {manifest.max_members:,} files, and the official archives '
            f'far fewer; {_AGAIN}.'
        )
    if size > manifest.max_unpacked_bytes:
        raise UserError(
            f'{path} unpacks to more than {filesize.decimal(manifest.max_unpacked_bytes)}, and the '
            f'official archives to far less; {_AGAIN}.'
        )


def _check_name(path: Path, name: str) -> None:
    parts = name.replace('\\', '/').split('/')
    if name.startswith(('/', '\\')) or _DRIVE.match(name) or '..' in parts or '\0' in name:
        raise UserError(f'{path} holds {name!r}, a name that leaves its folder; {_AGAIN}.')
