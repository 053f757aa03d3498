"""Train and test many times over, each run once: interruptible, resumable, on record."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from copy import deepcopy
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

import numpy as np
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS

from mmseg_pan.errors import UserError
from mmseg_pan.evaluation import bootstrap
from mmseg_pan.evaluation.confusion import confusions, iou_by_class, mean_iou, pixel_accuracy
from mmseg_pan.evaluation.training_logs import scalars
from mmseg_pan.files import exclusive, write_whole

from .launch import checkpoints
from .summary import device_name

ROOT = Path(__file__).resolve().parents[2]
_PACKAGES = ('torch', 'mmcv', 'onedl-mmcv', 'mmengine', 'onedl-mmengine', 'mmsegmentation')
_PACKAGES += ('onedl-mmsegmentation',)


class Experiment(NamedTuple):
    """One training run and its test."""

    name: str
    config: str
    seed: int
    options: dict

    @property
    def identity(self) -> dict:
        """What decides on the result: the config, the seed and the changes."""
        return dict(config=self.config, seed=self.seed, options=self.options)

    @property
    def folder(self) -> str:
        """A folder's name that no other experiment has."""
        text = json.dumps(self.identity, sort_keys=True)
        return f'{self.name}_seed{self.seed}_{hashlib.sha256(text.encode()).hexdigest()[:8]}'

    def load(self) -> Config:
        """Read the config, with the changes and the seed."""
        cfg = Config.fromfile(ROOT / self.config)
        cfg.merge_from_dict(deepcopy(self.options))  # it takes "_delete_" out
        cfg.merge_from_dict({'randomness.seed': self.seed})
        return cfg


class Spec(NamedTuple):
    """What a file of experiments asks for."""

    experiments: list[Experiment]
    results: Path
    selections: dict[str, list[str]]  # name of a mean -> names of its classes
    compare: list[tuple[str, str]]  # names of experiments


def read_spec(path: Path) -> Spec:
    """Read a YAML file of experiments.

    ``runs`` lists ``name``, ``config`` (from the repository's root), ``seeds`` and
    ``options`` (changes of the config, dots between keys). ``options`` at the top hold for
    all runs. ``selections`` names means over some classes, ``compare`` pairs of names.

    Raises:
        UserError: If the file is not there or says something else.
    """
    if not path.is_file():
        raise UserError(f'{path} is not there; see configs/pan/results for files of experiments.')
    spec = Config.fromfile(path).to_dict()
    known = {'runs', 'options', 'selections', 'compare'}
    rows = spec.get('runs') or []
    fields = {'name', 'config', 'seeds', 'options'}
    if set(spec) - known or not rows or any(set(row) - fields for row in rows):
        raise UserError(
            f'{path} must have "runs", a list of {sorted(fields)}, and may have '
            f'{sorted(known - {"runs"})}; it has {sorted(spec)}.'
        )
    common = spec.get('options', {})
    # The first seed of all runs before the second of any: a start that says something.
    turns = range(max(len(row['seeds']) for row in rows))
    found = [
        Experiment(row['name'], row['config'], row['seeds'][i], common | row.get('options', {}))
        for i in turns
        for row in rows
        if i < len(row['seeds'])
    ]
    for experiment in found:
        if not (ROOT / experiment.config).is_file():
            raise UserError(f'{path} names {experiment.config}, which is not there; mend "config".')
    pairs = [tuple(pair) for pair in spec.get('compare', [])]
    names = {experiment.name for experiment in found}
    for name in {name for pair in pairs for name in pair} - names:
        raise UserError(f'{path} compares "{name}", which is not in its runs; mend "compare".')
    return Spec(found, path.with_suffix('.jsonl'), spec.get('selections', {}), pairs)


def read_results(path: Path) -> list[dict]:
    """Read a results file, a line of JSON for each finished run or comparison."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def run_all(spec: Spec, work_dir: Path) -> None:
    """Do what is not done yet, one run after another.

    Args:
        spec: What to do.
        work_dir: Where checkpoints and label maps go; needed again for going on.

    Raises:
        UserError: If a tool failed or was stopped, or another process does the same.
    """
    work_dir.mkdir(parents=True, exist_ok=True)
    spec.results.parent.mkdir(parents=True, exist_ok=True)
    with exclusive(work_dir):
        for number, experiment in enumerate(spec.experiments, 1):
            head = f'[{number}/{len(spec.experiments)}] {experiment.name}, seed {experiment.seed}'
            if _line(read_results(spec.results), dict(kind='run', **experiment.identity)):
                print(f'{head}: done', flush=True)
                continue
            print(f'{head}: runs', flush=True)
            _append(spec.results, run(experiment, work_dir / experiment.folder, spec.selections))
            # At once: who stops between two seeds has what the seeds so far say.
            _compare_done(spec, work_dir)
        _compare_done(spec, work_dir)


def _compare_done(spec: Spec, work_dir: Path) -> None:
    lines = read_results(spec.results)
    done = [e for e in spec.experiments if _line(lines, dict(kind='run', **e.identity))]
    for pair in spec.compare:
        sets = [[e for e in done if e.name == name] for name in pair]
        seeds = [[e.seed for e in some] for some in sets]
        identity = dict(kind='comparison', first=pair[0], second=pair[1], seeds=seeds)
        if all(sets) and not _line(lines, identity):
            _append(spec.results, identity | compare(sets, work_dir, spec.selections))


def run(experiment: Experiment, folder: Path, selections: Mapping[str, Sequence[str]]) -> dict:
    """Train and test once, going on where an earlier process was stopped.

    Args:
        experiment: What to run.
        folder: Where its files go.
        selections: Name of a mean -> its classes.

    Returns:
        The line of the results file.
    """
    cfg = experiment.load()
    init_default_scope('mmseg')
    names = list(DATASETS.get(cfg.test_dataloader.dataset.type).METAINFO['classes'])
    for key, chosen in selections.items():
        if unknown := sorted(set(chosen) - set(names)):
            raise UserError(
                f'selections.{key} has {unknown}, and {experiment.config} no such classes; '
                f'choose from {names}.'
            )
    folder.mkdir(exist_ok=True)
    file = folder / 'config.py'
    cfg.dump(file)
    commits = folder / 'commits.json'
    seen = json.loads(commits.read_text()) if commits.is_file() else []
    seen += [commit for commit in [_commit()] if commit not in seen]
    write_whole(commits, json.dumps(seen).encode())
    train_and_test(file, folder)
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    matrices = confusions(dataset, folder / 'predictions')
    np.savez_compressed(folder / 'confusions.npz', matrices)
    total = matrices.sum(0)
    iou = iou_by_class(total)
    return dict(
        kind='run',
        name=experiment.name,
        **experiment.identity,
        iterations=cfg.train_cfg.max_iters,
        test_images=len(dataset),
        mIoU=round(mean_iou(total, names), 2),
        **{f'mIoU_{key}': round(mean_iou(total, names, c), 2) for key, c in selections.items()},
        aAcc=round(pixel_accuracy(total), 2),
        IoU={n: None if np.isnan(v) else round(v, 2) for n, v in zip(names, iou, strict=True)},
        **training_time(folder),
        device=device_name(),
        commits=seen,
        versions=_versions(),
        date=str(date.today()),
    )


def train_and_test(file: Path, folder: Path, options: Sequence[str] = ()) -> None:
    """Train a config and write label maps of its test images, by ``tools/``.

    Args:
        file: The config.
        folder: Where checkpoints, logs and ``predictions/`` go.
        options: ``--cfg-options`` of both tools.

    Raises:
        UserError: If a tool failed; its own words are above.
    """
    common = ['--work-dir', folder, *(['--cfg-options', *options] if options else [])]
    _tool('train.py', file, '--no-validate', '--resume=auto', *common)
    _tool('test.py', file, checkpoints(folder)[0], '--out', folder / 'predictions', *common)


def _tool(tool: str, *args) -> None:
    command = [sys.executable, '-W', 'ignore', ROOT / 'tools' / tool, *args]
    if subprocess.run([str(part) for part in command]).returncode:
        raise UserError(f'{tool} failed, see above; type the same command again to go on.')


def training_time(folder: Path) -> dict[str, float]:
    """Mean seconds of an iteration, and the share of them that waited for data."""
    rows = scalars(folder).values()
    seconds, waiting = (sum(row[key] for row in rows) for key in ('time', 'data_time'))
    return dict(
        seconds_per_iteration=round(seconds / max(len(rows), 1), 3),
        waiting_for_data=round(waiting / seconds, 3) if seconds else 0.0,
    )


def compare(
    sets: Sequence[Sequence[Experiment]], work_dir: Path, selections: Mapping[str, Sequence[str]]
) -> dict:
    """Compare two networks, each with one or more seeds, for every selection of classes.

    Args:
        sets: The runs of the first and of the second network.
        work_dir: Where their folders are.
        selections: Name of a mean -> its classes.

    Returns:
        By the name of each mean its 'mean' difference, 'low' and 'high'.

    Raises:
        UserError: If the files of a run are gone.
    """
    for experiment in [experiment for some in sets for experiment in some]:
        file = work_dir / experiment.folder / 'confusions.npz'
        if not file.is_file():
            raise UserError(
                f'{file} is not there, so that {experiment.name} cannot be compared; delete the '
                "run's line from the results file to have it run again."
            )
    matrices = [
        np.stack([np.load(work_dir / e.folder / 'confusions.npz')['arr_0'] for e in some])
        for some in sets
    ]
    cfg = Config.fromfile(ROOT / sets[0][0].config)
    names = list(DATASETS.get(cfg.test_dataloader.dataset.type).METAINFO['classes'])
    found = {}
    for key, classes in {'': None, **selections}.items():
        chosen = None if classes is None else [names.index(name) for name in classes]
        result = bootstrap.difference(*matrices, chosen)
        found[f'mIoU_{key}' if key else 'mIoU'] = {k: round(v, 2) for k, v in result.items()}
    return found


def _line(lines: list[dict], identity: dict) -> dict | None:
    for line in lines:
        if all(line.get(key) == value for key, value in identity.items()):
            return line
    return None


def _append(results: Path, line: dict) -> None:
    lines = [old for old in read_results(results) if not _replaces(line, old)]
    write_whole(results, ''.join(json.dumps(one) + '\n' for one in [*lines, line]).encode())


def _replaces(line: dict, old: dict) -> bool:
    """A comparison over more seeds takes the place of the one before."""
    return line['kind'] == 'comparison' and all(
        line[key] == old.get(key) for key in ('kind', 'first', 'second')
    )


def _commit() -> str:
    """The commit of the code, with a plus where files differ from it."""

    def git(*args: str) -> str:
        done = subprocess.run(['git', *args], cwd=ROOT, capture_output=True, text=True)
        return done.stdout.strip()

    return git('rev-parse', '--short=12', 'HEAD') + (
        '+' if git('status', '--porcelain', '--untracked-files=no') else ''
    )


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
