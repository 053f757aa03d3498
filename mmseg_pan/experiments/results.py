"""Results files: a line of JSON for each run or comparison, and each run's counts beside it."""

import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mmseg_pan.errors import UserError
from mmseg_pan.evaluation.intervals import difference_of_networks, difference_of_recipes
from mmseg_pan.files import exclusive, write_whole


def read_results(path: Path) -> list[dict]:
    """Read a results file, a line of JSON for each finished run or comparison."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


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

    def add(self, line: dict) -> None:
        """Add a line; a comparison over more seeds takes the place of the one before.

        Several processes may add to one file.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with exclusive(self.path.parent):
            lines = [old for old in read_results(self.path) if not _replaces(line, old)]
            text = ''.join(json.dumps(one) + '\n' for one in [*lines, line])
            write_whole(self.path, text.encode())

    def matrices_file(self, run: str) -> Path:
        """Where the confusion matrices of a run lie."""
        return self.path.with_suffix('') / (re.sub(r'[^\w.+-]', '-', run) + '.npz')

    def save_matrices(self, run: str, matrices: np.ndarray) -> None:
        """Write a run's confusion matrices, ``(images, classes, classes)``."""
        data = io.BytesIO()
        np.savez_compressed(data, matrices.astype(np.int32))
        file = self.matrices_file(run)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, data.getvalue())

    def matrices(self, run: str) -> np.ndarray:
        """Read a run's confusion matrices, ``(images, classes, classes)``.

        Raises:
            UserError: If they are not there.
        """
        file = self.matrices_file(run)
        if not file.is_file():
            raise UserError(
                f'{file} is not there, so that this run cannot be compared; delete its line '
                f'from {self.path} to have it run again.'
            )
        with np.load(file) as found:
            return found['arr_0']

    def compare(
        self, runs: Sequence[Sequence[str]], selections: Mapping[str, Sequence[int] | None]
    ) -> dict:
        """Compare two networks, each with one or more runs, for every selection of classes.

        Args:
            runs: The runs of the first and of the second network.
            selections: Name of a mean -> ids of its classes; None: all that are there.

        Returns:
            By the name of each mean its 'mean' difference, 'low' and 'high', which are None with
            one run on a side; with one run on both sides also 'images_low' and 'images_high',
            the interval of these two networks over images.

        Raises:
            UserError: If the matrices of a run are not there.
        """
        first, second = (np.stack([self.matrices(run) for run in some]) for some in runs)
        found = {}
        for key, chosen in selections.items():
            found[key] = difference_of_recipes(first, second, chosen)
            if len(first) == len(second) == 1:
                over_images = difference_of_networks(first[0], second[0], chosen)
                found[key] |= {f'images_{end}': over_images[end] for end in ('low', 'high')}
        return {
            key: {name: value if value is None else round(value, 2) for name, value in one.items()}
            for key, one in found.items()
        }


def _replaces(line: dict, old: dict) -> bool:
    return line['kind'] == 'comparison' and all(
        line[key] == old.get(key) for key in ('kind', 'first', 'second')
    )
