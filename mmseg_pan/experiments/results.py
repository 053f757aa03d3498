"""Results files: a line of JSON for each run or comparison, and each run's counts beside it."""

import io
import json
import re
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path, PurePath
from typing import NamedTuple

import numpy as np

from mmseg_pan.errors import UserError
from mmseg_pan.evaluation.intervals import difference_of_networks, difference_of_recipes
from mmseg_pan.files import exclusive, write_whole

from .identity import is_known


def read_results(path: Path) -> list[dict]:
    """Read a results file, a line of JSON for each finished run or comparison."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


class Counts(NamedTuple):
    """The predictions of a run for each test image, as counts."""

    matrices: np.ndarray  # confusion matrices, (images, classes, classes)
    images: list[str] | None  # their names; None: not on record

    def of(self, ids: Sequence[str] | None) -> np.ndarray:
        """Return the matrices of some images.

        Args:
            ids: Their names without folder and suffix; None: all images.

        Raises:
            UserError: If the names of the images are not on record, or none of them is meant.
        """
        if ids is None:
            return self.matrices
        if self.images is None:
            raise UserError(
                'A mean over some images needs the names of the images, which are not on record '
                'for this run; delete its line to have it run again.'
            )
        chosen = [PurePath(image).stem in set(ids) for image in self.images]
        if not any(chosen):
            raise UserError(
                f'None of the {len(self.images)} test images is in the list of a selection, which '
                f'begins with {ids[0] if ids else "nothing"}; correct "images" in "selections".'
            )
        return self.matrices[chosen]


class Results(NamedTuple):
    """``NAME.jsonl``, and the folder ``NAME`` with the confusion matrices of its runs.

    The matrices are what a comparison is made of: with them on record, it can be made again
    where the runs were not.
    """

    path: Path

    def find(self, **identity) -> dict | None:
        """Return the line that holds these values, if there is one."""
        for line in read_results(self.path):
            if all(line.get(key) == value for key, value in identity.items()):
                return line
        return None

    def find_run(self, identity: dict) -> dict | None:
        """Return the line of a run, if there is one and nothing of its identity is unknown.

        Args:
            identity: See :meth:`mmseg_pan.experiments.spec.Experiment.identity`.
        """
        # The resolved config holds the options already, and they may name folders of a machine.
        decisive = {key: value for key, value in identity.items() if key != 'options'}
        return self.find(kind='run', **decisive) if is_known(identity) else None

    def add(self, line: dict) -> None:
        """Add a line; a comparison over more seeds takes the place of the one before.

        Several processes may add to one file.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with exclusive(self.path.parent):
            lines = [old for old in read_results(self.path) if not _replaces(line, old)]
            self._write([*lines, line])

    def replace(self, line: dict, by: dict) -> None:
        """Replace a line by another."""
        with exclusive(self.path.parent):
            lines = [by if old == line else old for old in read_results(self.path)]
            self._write(lines)

    def _write(self, lines: list[dict]) -> None:
        text = ''.join(json.dumps(line) + '\n' for line in lines)
        write_whole(self.path, text.encode())

    def counts_file(self, run: str) -> Path:
        """Where the confusion matrices of a run lie."""
        return self.path.with_suffix('') / (re.sub(r'[^\w.+-]', '-', run) + '.npz')

    def save_counts(self, run: str, counts: Counts) -> None:
        """Write the confusion matrices of a run, and the names of their images."""
        data = io.BytesIO()
        images = {} if counts.images is None else dict(images=np.array(counts.images))
        np.savez_compressed(data, matrices=counts.matrices.astype(np.int32), **images)
        file = self.counts_file(run)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, data.getvalue())

    def counts(self, run: str) -> Counts:
        """Read the confusion matrices of a run.

        Raises:
            UserError: If they do not exist.
        """
        file = self.counts_file(run)
        if not file.is_file():
            raise UserError(
                f'{file} does not exist, so that this run cannot be compared; delete its line '
                f'from {self.path} to have it run again.'
            )
        with np.load(file) as found:
            images = found['images'].tolist() if 'images' in found else None
            return Counts(found['matrices' if 'matrices' in found else 'arr_0'], images)

    def compare(
        self,
        sides: Sequence[Sequence[dict]],
        selections: Mapping[str, tuple[Sequence[int] | None, Sequence[str] | None]],
    ) -> dict:
        """Compare two networks, each with one or more runs, for every selection.

        Args:
            sides: The lines of the first and of the second network's runs.
            selections: Name of a mean -> ids of its classes and of its images; None: all.

        Returns:
            By the name of each mean its 'mean' difference, 'low' and 'high', which are None with
            one run on a side; with one run on both sides also 'images_low' and 'images_high',
            the interval of these two networks over images.

        Raises:
            UserError: If the matrices of a run do not exist, or two runs were tested on
                different images, or it is not known whether they were.
        """
        loaded = [[self.counts(line['run']) for line in side] for side in sides]
        for line, counts in zip(chain(*sides), chain(*loaded), strict=True):
            _check_same_images(sides[0][0], loaded[0][0], line, counts)
        found = {}
        for key, (chosen, images) in selections.items():
            first, second = (np.stack([counts.of(images) for counts in side]) for side in loaded)
            found[key] = difference_of_recipes(first, second, chosen)
            if len(first) == len(second) == 1:
                over_images = difference_of_networks(first[0], second[0], chosen)
                found[key] |= {f'images_{end}': over_images[end] for end in ('low', 'high')}
        return {
            key: {name: value if value is None else round(value, 2) for name, value in one.items()}
            for key, one in found.items()
        }


def _check_same_images(first: dict, first_counts: Counts, second: dict, counts: Counts) -> None:
    """Refuse to compare runs whose matrices are not of the same images."""
    pair = f'{first["run"]} and {second["run"]} cannot be compared: '
    advice = '; test both on one list.'
    sizes = [len(one.matrices) for one in (first_counts, counts)]
    if first_counts.images is not None and counts.images is not None:
        if first_counts.images == counts.images:
            return
        differ = set(first_counts.images) ^ set(counts.images)
        what = f'{len(differ)} images are in one test alone' if differ else 'in another order'
        raise UserError(f'{pair}tested on {sizes[0]} and {sizes[1]} images, {what}{advice}')
    lists = first.get('lists'), second.get('lists')
    if lists[0] is None or lists[0] != lists[1] or sizes[0] != sizes[1]:
        raise UserError(
            f'{pair}the names of their images are not on record, and their lists '
            f'{"are not either" if None in lists else "differ"}{advice}'
        )


def _replaces(line: dict, old: dict) -> bool:
    """Whether a comparison covers another one: the same pair, and all of its runs."""
    if line['kind'] != 'comparison' or any(
        line[key] != old.get(key) for key in ('kind', 'first', 'second')
    ):
        return False
    before = old.get('runs')
    return before is not None and all(
        set(ones) <= set(others) for ones, others in zip(before, line['runs'], strict=True)
    )
