"""Videos, one frame at a time."""

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np

from mmseg_pan.errors import UserError


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
            raise UserError(f'{path} is no video that OpenCV can open; restore or convert it.')
        self.frames = max(int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)), 0)
        self.rate = self._capture.get(cv2.CAP_PROP_FPS) or 25.0
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
    """Write an .mp4, of which nothing is left where ``pictures`` fails.

    Args:
        path: The file; its folder must exist.
        pictures: ``(H, W, 3)`` uint8, BGR, all of one size; an odd side loses a pixel.
        rate: Frames a second.

    Raises:
        UserError: If this OpenCV cannot write MPEG-4.
    """
    # OpenCV writes to a name only, and knows the container by its suffix.
    folder = Path(tempfile.mkdtemp(prefix=f'.{path.name}.', dir=path.parent))
    writer = None
    try:
        temporary = folder / path.name
        for picture in pictures:
            if writer is None:
                size = picture.shape[1::-1]
                writer = cv2.VideoWriter(
                    str(temporary), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*'mp4v'), rate, size
                )
                if not writer.isOpened():
                    raise UserError(
                        f'This OpenCV cannot write {path} (mp4v, {size[0]}x{size[1]}); type '
                        '"--format palette", which gives PNGs.'
                    )
            writer.write(picture)
        if writer is not None:
            writer.release()
            os.replace(temporary, path)
    finally:
        if writer is not None:
            writer.release()
        shutil.rmtree(folder)
