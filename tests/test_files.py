"""Files that are complete or absent, also where the process dies while writing."""

import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from mmseg_pan import files
from mmseg_pan.files import remove_leftovers, write_whole


def write_and_die(path: Path) -> None:
    """Killed when all bytes are written, and before they have their name."""
    os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    write_whole(path, b'new')


@pytest.mark.parametrize('old', [None, b'old'])
def test_killed_while_writing(tmp_path, old):
    path = tmp_path / 'list.txt'
    if old:
        path.write_bytes(old)
    process = multiprocessing.get_context('fork').Process(target=write_and_die, args=(path,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert (path.read_bytes() if path.exists() else None) == old
    assert len([item for item in tmp_path.iterdir() if item.name.endswith('.part')]) == 1
    keep = tmp_path / '.someone-elses.part'
    keep.write_bytes(b'')
    remove_leftovers(tmp_path)
    assert {item.name for item in tmp_path.iterdir()} == {keep.name, *([path.name] if old else [])}


def test_error_while_writing_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(files.os, 'fsync', fail)
    with pytest.raises(OSError, match='No space left'):
        write_whole(tmp_path / 'list.txt', b'new')
    assert not list(tmp_path.iterdir())
