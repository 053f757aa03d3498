"""Videos: whole or not there, at the rate of the original, with the frames that it has."""

import os
import resource
import signal
import subprocess
import sys
import textwrap

import cv2
import numpy as np
import pytest

from mmseg_pan.errors import UserError
from mmseg_pan.files import disk_errors_explained, remove_leftovers
from mmseg_pan.inference import videos
from mmseg_pan.inference.videos import (
    Video,
    check_frames,
    count_frames,
    writable_rate,
    write_frames,
    write_video,
)
from mmseg_pan.outputs import MARK, is_result
from tests.paths import ROOT

GREY = np.full((48, 64, 3), 90, np.uint8)


def noise(count: int):
    rng = np.random.default_rng(0)
    for _ in range(count):
        yield rng.integers(0, 255, (240, 320, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    'rate', [0.5, 15, 23.976023976, 59.94, 119.88, 196.263, 211.222, 240, 479.52, 655.36, 960, 1000]
)
def test_rate_is_kept_to_a_hundredth(tmp_path, rate):
    write_video(tmp_path / 'a.mp4', [GREY] * 4, rate)
    assert Video(tmp_path / 'a.mp4').rate == pytest.approx(rate, abs=0.01 if rate < 655 else 0.05)
    assert count_frames(tmp_path / 'a.mp4') == 4


@pytest.mark.parametrize('rate', [float('nan'), float('inf'), 0.0, -1.0])
def test_rate_that_is_none(rate):
    assert writable_rate(rate) == 25


def test_absurd_rates_can_be_written_too(tmp_path):
    for rate in (1e-5, 90_000, 1e9):
        write_video(tmp_path / 'a.mp4', [GREY] * 2, rate)
        assert count_frames(tmp_path / 'a.mp4') == 2


def test_result_is_known_again_and_opens(tmp_path):
    write_video(tmp_path / 'a.mp4', [GREY] * 3, 25)
    assert is_result(tmp_path / 'a.mp4')
    assert os.listdir(tmp_path) == ['a.mp4']
    assert len(list(Video(tmp_path / 'a.mp4'))) == 3


def small_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))


def test_full_disk_is_told_and_keeps_the_older_video(tmp_path):
    """Files of 100 kB at most: OpenCV writes on silently."""
    write_video(tmp_path / 'a.mp4', [GREY] * 3, 25)
    good = (tmp_path / 'a.mp4').read_bytes()
    code = textwrap.dedent(f"""
        import sys
        from pathlib import Path
        from mmseg_pan.cli import run_tool
        from mmseg_pan.files import disk_errors_explained
        from mmseg_pan.inference.videos import write_video
        from tests.inference.test_videos import noise
        def main():
            with disk_errors_explained(Path({str(tmp_path)!r})):
                write_video(Path({str(tmp_path / 'a.mp4')!r}), noise(40), 25)
        run_tool(main)
    """)
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', code],
        cwd=ROOT, preexec_fn=small_files, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert f'error: The disk that holds {tmp_path} is full' in done.stderr
    assert (tmp_path / 'a.mp4').read_bytes() == good
    assert os.listdir(tmp_path) == ['a.mp4']


def test_lost_frames_are_told_where_the_disk_has_room(tmp_path, monkeypatch):
    monkeypatch.setattr(videos, 'count_frames', lambda path: count_frames(path) - 1)
    with (
        disk_errors_explained(tmp_path),
        pytest.raises(UserError, match='2 of 3 frames can be read back'),
    ):
        write_video(tmp_path / 'a.mp4', [GREY] * 3, 25)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize('kind', ['video', 'frames'])
def test_killed_in_the_middle(tmp_path, kind):
    def pictures(picture):
        yield picture
        os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        if kind == 'video':
            write_video(tmp_path / 'clip.mp4', pictures(GREY), 25)
        else:
            write_frames(tmp_path / 'clip', pictures(b'png'))
    os.waitpid(child, 0)
    (left,) = os.listdir(tmp_path)
    assert left.startswith('.clip')
    remove_leftovers(tmp_path)
    assert os.listdir(tmp_path) == []


def test_frames_of_an_older_video_go(tmp_path):
    frame = MARK.encode()
    write_frames(tmp_path / 'clip', [frame] * 9)
    check_frames(tmp_path / 'clip')
    write_frames(tmp_path / 'clip', [frame] * 4)
    assert sorted(os.listdir(tmp_path / 'clip')) == [f'{i:06d}.png' for i in range(4)]
    assert os.listdir(tmp_path) == ['clip']


def test_failed_frames_leave_the_older_ones(tmp_path):
    def pictures():
        yield b'new'
        raise UserError('the end')

    write_frames(tmp_path / 'clip', [b'old'] * 2)
    with pytest.raises(UserError, match='the end'):
        write_frames(tmp_path / 'clip', pictures())
    assert {path.read_bytes() for path in (tmp_path / 'clip').iterdir()} == {b'old'}
    assert os.listdir(tmp_path) == ['clip']


@pytest.mark.parametrize('name', ['000001.png', 'notes.txt', 'deep'])
def test_folder_with_something_else_is_refused(tmp_path, name):
    write_frames(tmp_path / 'clip', [MARK.encode()])
    other = tmp_path / 'clip' / name
    if name == 'deep':
        other.mkdir()
    else:
        other.write_text('mine')
    with pytest.raises(UserError, match=f'{name} is not a frame of an earlier run'):
        check_frames(tmp_path / 'clip')


def test_file_in_the_place_of_frames_is_refused(tmp_path):
    (tmp_path / 'clip').touch()
    with pytest.raises(UserError, match='is a file, and frames need a folder'):
        check_frames(tmp_path / 'clip')


def test_odd_sizes(tmp_path):
    write_video(tmp_path / 'a.mp4', [np.zeros((49, 65, 3), np.uint8)] * 2, 25)
    capture = cv2.VideoCapture(str(tmp_path / 'a.mp4'))
    assert capture.read()[0]
