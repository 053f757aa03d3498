"""Atomic writes, and locks for one writer at a time."""

import errno
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmseg_pan.errors import UserError

_TEMPORARY = re.compile(r'\..+\.\d+\.part', re.DOTALL)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


def write_whole(path: Path, data: bytes, durable: bool = True) -> None:
    """Write a file atomically: its final name never holds a partial file.

    Args:
        path: Final name; its folder must exist.
        data: All of its bytes.
        durable: Whether to flush the bytes to disk before the rename. Without it a
            power failure, though no killed process, can leave an empty file.
    """
    temporary = temporary_name(path)
    try:
        with open(temporary, 'wb') as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable and os.name == 'posix':
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the name
        finally:
            os.close(folder)


def temporary_name(path: Path) -> Path:
    """Return a hidden name next to a file or folder, for use until it is complete.

    It has at most 255 bytes, the limit of file systems, whatever the final name is.
    """
    name = os.fsencode(path.name)[:200].decode('utf-8', 'ignore')
    return path.with_name(f'.{name}.{os.getpid()}.part')


def remove_leftovers(folder: Path) -> None:
    """Remove files with a :func:`temporary_name` that killed runs left in a folder."""
    if folder.is_dir():
        for path in folder.iterdir():
            if _TEMPORARY.fullmatch(path.name):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)


class BusyError(UserError):
    """Another process is using the same file or folder."""


@contextmanager
def exclusive(path: Path, patience: float = 10.0) -> Iterator[int | None]:
    """Lock a file or folder against a second run.

    The lock goes with the process and the workers that it forked: after a SIGKILL
    the next run waits here until the orphaned workers, too, have ended.

    Args:
        path: An existing file or folder; nothing is written to it.
        patience: Seconds to wait for another run to end.

    Yields:
        The descriptor that holds the lock, for a child process to inherit: then the lock lasts as
        long as the child. None where there are no locks.

    Raises:
        BusyError: If another run still holds it then.
    """
    try:
        import fcntl
    except ImportError:  # Windows: no such lock, and no fork that would need it
        yield None
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        deadline = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise BusyError(
                        f'Another run is using {path}; wait until it has ended, and type '
                        'the same command again.'
                    ) from None
                time.sleep(0.05)
            except OSError:  # a file system without locks: continue without one
                break
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def disk_errors_explained(folder: Path) -> Iterator[None]:
    """Turn a full disk or a missing write permission into a user error.

    Raises:
        UserError: If the body raised an OSError of that kind; others pass unchanged.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise UserError(
                f'The disk that holds {folder} is full; free space and type the same command again.'
            ) from error
        if error.errno in _FORBIDDEN:
            raise UserError(
                f'{error.filename or folder} cannot be written ({error.strerror}); get '
                f'write permission for {folder}, or use another folder.'
            ) from error
        raise
