"""Videos, one frame at a time."""

import math
import os
import re
import shutil
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from mmseg_pan.errors import UserError
from mmseg_pan.files import temporary_name
from mmseg_pan.outputs import MARK, is_result

_FRAME = re.compile(r'\d{6,}\.png')
#: A box that players skip (ISO/IEC 14496-12, 8.1.2), with the mark of a result.
_MARK_BOX = struct.pack('>I4s', 8 + len(MARK), b'free') + MARK.encode()


class Video:
    """A video's frames, once through.

    Args:
        path: The file.

    Raises:
        UserError: If OpenCV cannot open it.
    """

    def __init__(self, path: Path):
        self.path = path
        # By name: other back ends take a text file for a list of images.
        self._capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        if not self._capture.isOpened():
            raise UserError(f'{path} is not a video that OpenCV can open; restore or convert it.')
        self.frames = max(int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)), 0)
        self.rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.height = int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        self.width = int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH))

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield frames, ``(H, W, 3)`` uint8, BGR.

        Raises:
            UserError: If it ends early. Containers round their count of frames, so that a
                tenth may be missing.
        """
        found = 0
        try:
            while True:
                there, frame = self._capture.read()
                if not there:
                    break
                found += 1
                yield frame
        finally:
            self._capture.release()
        if not found or found < 0.9 * self.frames:
            raise UserError(f'{self.path} ends after {found} of {self.frames} frames; restore it.')


def write_video(path: Path, pictures: Iterable[np.ndarray], rate: float) -> None:
    """Write an .mp4 and read it back before it replaces an older one.

    Args:
        path: The file; its folder must exist.
        pictures: ``(H, W, 3)`` uint8, BGR, all of one size; an odd side loses a pixel.
        rate: Frames a second, see :func:`writable_rate`.

    Raises:
        UserError: If this OpenCV cannot write MPEG-4, or frames are missing from the file.
        OSError: If the disk is full.
    """
    with _draft_folder(path) as folder:
        # OpenCV writes to a name only, and knows the container by its suffix.
        draft = folder / 'video.mp4'
        writer, count = None, 0
        try:
            for picture in pictures:
                if writer is None:
                    writer = _open_writer(draft, picture.shape[1::-1], rate, path)
                writer.write(picture)
                count += 1
        finally:
            if writer is not None:
                writer.release()
        with open(draft, 'ab') as file:
            file.write(_MARK_BOX)
        found = count_frames(draft)
        if found != count:
            with open(draft, 'ab') as file:  # on a full disk the system says so
                file.write(bytes(1 << 20))
                os.fsync(file.fileno())
            raise UserError(
                f'{path} was not written: {found} of {count} frames can be read back; type '
                '"--format palette", which gives PNGs.'
            )
        os.replace(draft, path)


def write_frames(folder: Path, pictures: Iterable[bytes]) -> None:
    """Write a video's frames as PNGs; an older folder is replaced when all are there.

    Args:
        folder: Holds exactly these frames afterwards.
        pictures: PNGs as bytes.

    Raises:
        OSError: If the disk is full.
    """
    with _draft_folder(folder) as draft:
        for number, picture in enumerate(pictures):
            (draft / f'{number:06d}.png').write_bytes(picture)
        old = temporary_name(folder.with_name(f'{folder.name[:60]}.old'))
        if folder.is_dir():
            os.rename(folder, old)
        os.rename(draft, folder)
        shutil.rmtree(old, ignore_errors=True)


def check_frames(folder: Path) -> None:
    """Check that a folder contains only frames of an earlier run.

    Raises:
        UserError: Naming the file.
    """
    if os.path.lexists(folder) and not folder.is_dir():
        raise UserError(f'{folder} is a file, and frames need a folder; type another --out.')
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if not _FRAME.fullmatch(path.name) or not is_result(path):
            raise UserError(
                f'{path} is not a frame of an earlier run, and {folder} would be replaced; move it '
                'away, or type another --out.'
            )


def count_frames(path: Path) -> int:
    """How many frames of a video can be decoded."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    count = 0
    while capture.grab():
        count += 1
    capture.release()
    return count


def writable_rate(rate: float) -> float:
    """The nearest rate that OpenCV can write: MPEG-4 takes a fraction of parts below 65536.

    OpenCV makes the fraction of the decimals. Rates up to 655 keep two of them.

    Args:
        rate: Frames a second; 25 takes the place of one that is no positive number.
    """
    if not (math.isfinite(rate) and rate > 0):
        return 25.0
    for digits in (3, 2, 1, 0):
        rounded = max(round(rate, digits), 0.01)  # OpenCV takes smaller ones for 0
        if round(rounded * 10**digits) < 1 << 16:
            return rounded
    return 65535.0


def _open_writer(draft: Path, size: tuple[int, int], rate: float, path: Path):
    codec = cv2.VideoWriter_fourcc(*'mp4v')
    writer = cv2.VideoWriter(str(draft), cv2.CAP_FFMPEG, codec, writable_rate(rate), size)
    if not writer.isOpened():
        raise UserError(
            f'This OpenCV cannot write {path} (mp4v, {size[0]}x{size[1]}); type '
            '"--format palette", which gives PNGs.'
        )
    return writer


@contextmanager
def _draft_folder(path: Path) -> Iterator[Path]:
    """A hidden folder beside a result, which the next run removes if this one is killed."""
    folder = temporary_name(path)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
