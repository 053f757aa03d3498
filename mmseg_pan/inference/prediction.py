"""Predict many files with constant memory; unreadable ones are reported and skipped."""

import errno
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from rich.progress import Progress

from mmseg_pan.errors import UserError
from mmseg_pan.files import disk_errors_explained, exclusive, remove_leftovers, write_whole
from mmseg_pan.parallel import progress_bar

from .images import as_bgr, read_image
from .pictures import Painter
from .predictor import Predictor
from .sources import Source
from .videos import Video, write_frames, write_video

_LEGEND_ROWS = 2  # of a video, whose frames have one size whatever they show


@dataclass
class Tally:
    """Number of inputs that were predicted and skipped."""

    written: int = 0
    skipped: int = 0


def predict_sources(
    predictor: Predictor, painter: Painter, sources: Sequence[Source], out: Path
) -> Tally:
    """Predict images and videos and write the painted outputs.

    Each file that cannot be read is named on stderr.

    Args:
        predictor: The network.
        painter: It says the format, too.
        sources: What to read.
        out: Output folder; made where it does not exist.

    Raises:
        UserError: If results cannot be written, or another run writes there.
    """
    run = _Run(predictor, painter, out)
    with disk_errors_explained(out):
        run.make_folder(out)
        with exclusive(out), progress_bar() as run.bar:
            task = run.bar.add_task('predicting', total=len(sources))
            images = [source for source in sources if not source.is_video]
            for chunk in _chunks(images, predictor.batch):
                run.predict_images(chunk)
                run.bar.advance(task, len(chunk))
            for source in sources:
                if source.is_video:
                    run.predict_video(source)
                    run.bar.advance(task)
    return run.tally


class _Run:
    def __init__(self, predictor: Predictor, painter: Painter, out: Path):
        self.predictor = predictor
        self.painter = painter
        self.out = out
        self.tally = Tally()
        self.bar: Progress
        self._folder = None

    def predict_images(self, sources: Sequence[Source]) -> None:
        """Read, predict and write one batch."""
        good, images, prepared = [], [], []
        for source in sources:
            try:
                image = read_image(source.path, self.predictor.check_size, self.predictor.loading)
                prepared.append(self.predictor.prepare(image))
            except UserError as error:
                self._skip(source, error)
                continue
            good.append(source)
            images.append(as_bgr(image))
        labels = self.predictor.predict(prepared)
        for source, image, found in zip(good, images, labels, strict=True):
            target = source.target(self.out, self.painter.kind)
            try:
                self._write(target, image, found)
            except OSError as error:
                if error.errno != errno.ENAMETOOLONG:
                    raise
                self._skip(source, UserError(f'{target} is too long a file name.'))
            else:
                self.tally.written += 1

    def predict_video(self, source: Source) -> None:
        """Read, predict and write a video, one batch of frames at a time."""
        target = source.target(self.out, self.painter.kind)
        task = None
        self.make_folder(target.parent)
        try:
            video = Video(source.path)
            self.predictor.check_size(video.height, video.width)
            task = self.bar.add_task(source.path.name, total=video.frames or None)
            frames = self._predicted(video, lambda count: self.bar.advance(task, count))
            if self.painter.kind == 'overlay':
                pictures = (self.painter.overlay(*pair, rows=_LEGEND_ROWS) for pair in frames)
                write_video(target, pictures, video.rate)
            else:
                write_frames(target, (self.painter.encode(*pair) for pair in frames))
        except UserError as error:
            self._skip(source, error)
        else:
            self.tally.written += 1
        finally:
            if task is not None:
                self.bar.remove_task(task)

    def _predicted(
        self, video: Video, advance: Callable[[int], None]
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for frames in _chunks(video, self.predictor.batch):
            prepared = [
                self.predictor.prepare(self.predictor.loading.frame(frame)) for frame in frames
            ]
            yield from zip(frames, self.predictor.predict(prepared), strict=True)
            advance(len(frames))

    def _write(self, path: Path, image: np.ndarray, labels: np.ndarray) -> None:
        self.make_folder(path.parent)
        write_whole(path, self.painter.encode(image, labels), durable=False)

    def _skip(self, source: Source, error: UserError) -> None:
        self.tally.skipped += 1
        text = str(error)
        if str(source.path) not in text:
            text = f'{source.path}: {text}'
        self.bar.console.print(f'skipped: {text}', markup=False, highlight=False, soft_wrap=True)

    def make_folder(self, folder: Path) -> None:
        """Create a folder, and remove files left by a killed run."""
        if folder == self._folder:  # the last one, mostly
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise UserError(
                f'{error.filename} is a file, but outputs need a folder of that name; give '
                'another folder with --out.'
            ) from None
        remove_leftovers(folder)
        self._folder = folder


def _chunks(items, size: int) -> Iterator[list]:
    items = iter(items)
    while chunk := list(islice(items, size)):
        yield chunk
