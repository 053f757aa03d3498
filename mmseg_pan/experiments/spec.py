"""Files of experiments: which runs, which seeds, which comparisons."""

import hashlib
import json
import logging
from copy import deepcopy
from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config
from mmengine.logging import MMLogger

from mmseg_pan.cli import load_config
from mmseg_pan.configs.contents import read_config
from mmseg_pan.datasets.lists import read_ids
from mmseg_pan.errors import UserError

from .identity import identify
from .results import Results


class Selection(NamedTuple):
    """What a mean IoU is taken over."""

    classes: list[str] | None  # names; None: all that are there
    images: list[str] | None = None  # ids; None: all of the test


class Experiment(NamedTuple):
    """One training run and its test, or the test of a checkpoint."""

    name: str
    config: str
    seed: int
    options: dict
    checkpoint: str | None = None  # is tested as it is, without training

    def identity(self, root: Path) -> dict:
        """What decides on the result: config, seed, changes, and the hashes of `identify`.

        Args:
            root: Of the checkout that the config is read from.
        """
        named = dict(config=self.config, seed=self.seed, options=self.options)
        return named | identify(self.load(root))

    def folder(self, identity: dict) -> str:
        """A unique folder name for the run.

        Args:
            identity: See :meth:`identity`.
        """
        decisive = {key: value for key, value in identity.items() if key != 'options'}
        text = json.dumps(decisive, sort_keys=True)
        return f'{self.name}_seed{self.seed}_{hashlib.sha256(text.encode()).hexdigest()[:8]}'

    def load(self, root: Path) -> Config:
        """Read the config from a checkout, with the changes and the seed."""
        logger = MMLogger.get_current_instance()
        level = logger.level
        logger.setLevel(logging.WARNING)  # else a line for each environment variable, each time
        try:
            cfg = read_config(root / self.config)
        finally:
            logger.setLevel(level)
        cfg.merge_from_dict(deepcopy(self.options))  # it takes "_delete_" out
        cfg.merge_from_dict({'randomness.seed': self.seed})
        if self.checkpoint:
            cfg.merge_from_dict({'load_from': self.checkpoint, 'train_cfg.max_iters': 0})
        return cfg


class Spec(NamedTuple):
    """What an experiment file asks for."""

    root: Path  # of the checkout, which holds configs/ and tools/
    experiments: list[Experiment]
    results: Results
    selections: dict[str, Selection]  # by the name of the mean
    compare: list[tuple[str, str]]  # names of experiments


def read_spec(path: Path, root: Path, results: Path | None = None) -> Spec:
    """Read a YAML experiment file.

    ``runs`` lists ``name``, ``config`` (from the repository's root), ``seeds`` and
    ``options`` (changes of the config, dots between keys). ``options`` at the top hold for
    all runs. A run with ``checkpoint`` tests that file and trains nothing. ``selections`` names
    means over some classes, or over ``classes`` in ``images``, a list of ids beside the file;
    ``compare`` names pairs.

    Args:
        path: The file.
        root: Of the checkout that configs and tools are taken from.
        results: Where results go; None: to ``.jsonl`` beside the file.

    Raises:
        UserError: If the file does not exist or says something else, ``results`` has another
            suffix, or ``root`` is no checkout.
    """
    check_checkout(root)
    results = results or path.with_suffix('.jsonl')
    if results.suffix != '.jsonl':
        raise UserError(f'Results go to a file that ends in .jsonl, not to {results}.')
    if not path.is_file():
        raise UserError(f'{path} does not exist; see configs/pan/results for experiment files.')
    spec = read_config(path).to_dict()
    known = {'runs', 'options', 'selections', 'compare'}
    rows = spec.get('runs') or []
    fields = {'name', 'config', 'seeds', 'options', 'checkpoint'}
    if set(spec) - known or not rows or any(set(row) - fields for row in rows):
        raise UserError(
            f'{path} must have "runs", a list of {sorted(fields)}, and may have '
            f'{sorted(known - {"runs"})}; it has {sorted(spec)}.'
        )
    for row in rows:
        seeds = row.get('seeds')
        whole = isinstance(seeds, list) and seeds and all(isinstance(s, int) for s in seeds)
        if not (row.get('name') and row.get('config') and whole):
            raise UserError(
                f'{path} has the run {str(row)[:80]}, and a run needs "name", "config" and '
                '"seeds", a list of whole numbers; add them.'
            )
    common = spec.get('options', {})
    # The first seed of all runs before the second of any: a start that says something.
    turns = range(max(len(row['seeds']) for row in rows))
    found = [
        Experiment(
            row['name'],
            row['config'],
            row['seeds'][i],
            common | row.get('options', {}),
            row.get('checkpoint'),
        )
        for i in turns
        for row in rows
        if i < len(row['seeds'])
    ]
    for experiment in found:
        if not (root / experiment.config).is_file():
            raise UserError(
                f'{path} names {experiment.config}, which does not exist; fix "config".'
            )
    pairs = [tuple(pair) for pair in spec.get('compare', [])]
    names = {experiment.name for experiment in found}
    for name in {name for pair in pairs for name in pair} - names:
        raise UserError(f'{path} compares "{name}", which is not in its runs; fix "compare".')
    selections = {
        name: _selection(name, chosen, path) for name, chosen in spec.get('selections', {}).items()
    }
    return Spec(root, found, Results(results), selections, pairs)


def check_experiments(spec: Spec) -> None:
    """Check configs and options of all runs, before the first of them.

    Raises:
        UserError: As for :func:`mmseg_pan.cli.load_config`.
    """
    checked = []
    for experiment in spec.experiments:
        what = experiment.config, experiment.options
        if what not in checked:
            checked.append(what)
            load_config(str(spec.root / experiment.config), deepcopy(experiment.options))


def _selection(name: str, chosen: list[str] | dict, path: Path) -> Selection:
    if not isinstance(chosen, dict):
        return Selection(chosen)
    if set(chosen) != {'classes', 'images'}:
        raise UserError(
            f'selections.{name} of {path} has {sorted(chosen)}; it is a list of classes, or has '
            '"classes" and "images".'
        )
    return Selection(chosen['classes'], read_ids(path.parent / chosen['images']))


def check_checkout(root: Path) -> None:
    """Check that the package is in a clone of the repository.

    Raises:
        UserError: If ``root`` holds no tools.
    """
    if not (root / 'tools/train.py').is_file():
        raise UserError(
            f'{root} is not a clone of mmseg_pan (tools/train.py is missing); clone the '
            'repository and run the tool from the clone.'
        )
