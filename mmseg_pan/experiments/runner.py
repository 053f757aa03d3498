"""Train and test each run of an experiment file once; interruptible and resumable."""

import json
import subprocess
import sys
from contextlib import ExitStack
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS

from mmseg_pan.devices import device_name
from mmseg_pan.engine.resume import checkpoints
from mmseg_pan.errors import UserError
from mmseg_pan.evaluation.confusion import confusions, iou_by_class, mean_iou, pixel_accuracy
from mmseg_pan.evaluation.label_map_files import dataset_images, image_name, image_root
from mmseg_pan.files import BusyError, exclusive, write_whole
from mmseg_pan.outputs import check_writable
from mmseg_pan.processes import run_child
from mmseg_pan.reports.training_logs import scalars

from .identity import differences
from .results import Counts, read_results
from .spec import Experiment, Spec, check_experiments

_PACKAGES = ('torch', 'mmcv', 'onedl-mmcv', 'mmengine', 'onedl-mmengine', 'mmsegmentation')
_PACKAGES += ('onedl-mmsegmentation',)
Asked = list[tuple[Experiment, dict]]  # experiments and their identities


def run_all(spec: Spec, work_dir: Path) -> None:
    """Do what is not done yet, one run after another.

    What another process is doing is left to it: two of them, each on its cores or its GPU,
    share the runs.

    Args:
        spec: What to do.
        work_dir: Where checkpoints and label maps go; needed again for going on.

    Raises:
        UserError: If a tool failed or was stopped.
    """
    check_experiments(spec)
    check_writable(work_dir, '--work-dir')
    check_writable(spec.results.path.parent, '--results')
    count = len(spec.experiments)
    asked = [(experiment, experiment.identity(spec.root)) for experiment in spec.experiments]
    for number, (experiment, identity) in enumerate(asked, 1):
        print(f'[{number}/{count}] {experiment.name}, seed {experiment.seed}: ', end='', flush=True)
        if line := spec.results.find_run(identity):
            _add_means(spec, experiment, line)
            print('done', flush=True)
        else:
            print(_former(spec, experiment, identity), end='', flush=True)
            _run_unless_busy(spec, asked, number - 1, work_dir)
    _compare_done(spec, asked)


def _add_means(spec: Spec, experiment: Experiment, line: dict) -> None:
    """Add the means of selections that the file got after the run."""
    if any(f'mIoU_{key}' not in line for key in spec.selections):
        means = _means(
            spec, _class_names(experiment.load(spec.root)), spec.results.counts(line['run'])
        )
        spec.results.replace(line, line | means)


def _means(spec: Spec, names: list[str], counts: Counts) -> dict[str, float]:
    return {
        f'mIoU_{key}': round(mean_iou(counts.of(one.images).sum(0), names, one.classes), 2)
        for key, one in spec.selections.items()
    }


def _former(spec: Spec, experiment: Experiment, identity: dict) -> str:
    """Say why a run of this name and seed that is on record does not count."""
    lines = [
        line
        for line in read_results(spec.results.path)
        if line['kind'] == 'run'
        and (line['name'], line['seed']) == (experiment.name, experiment.seed)
    ]
    if not lines:
        return ''
    reasons = min((differences(line, identity) for line in lines), key=len)
    return f'on record, but as another run ({"; ".join(reasons)}): '


def _run_unless_busy(spec: Spec, asked: Asked, index: int, work_dir: Path) -> None:
    experiment, identity = asked[index]
    folder = work_dir / experiment.folder(identity)
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        try:
            lock = stack.enter_context(exclusive(folder, patience=0))
        except BusyError:
            print('another process is running it', flush=True)
            return
        if spec.results.find_run(identity):
            print('done by another process', flush=True)
            return
        print('runs', flush=True)
        spec.results.add(run(experiment, identity, folder, spec, lock))
    # At once: who stops between two seeds has what the seeds so far say.
    _compare_done(spec, asked)


def _compare_done(spec: Spec, asked: Asked) -> None:
    done = [(one, line) for one, what in asked if (line := spec.results.find_run(what))]
    for pair in spec.compare:
        sides = [[line for one, line in done if one.name == name] for name in pair]
        identity = dict(
            kind='comparison',
            first=pair[0],
            second=pair[1],
            seeds=[[line['seed'] for line in side] for side in sides],
            runs=[[line['run'] for line in side] for side in sides],
        )
        if all(sides) and spec.results.find(**identity) is None:
            first = next(one for one, _ in done if one.name == pair[0])
            names = _class_names(first.load(spec.root))
            selections = {
                f'mIoU_{key}': ([names.index(name) for name in one.classes], one.images)
                for key, one in spec.selections.items()
            }
            found = spec.results.compare(sides, {'mIoU': (None, None), **selections})
            spec.results.add(identity | found)


def _class_names(cfg: Config) -> list[str]:
    init_default_scope('mmseg')
    dataset = cfg.test_dataloader.dataset
    return list({**DATASETS.get(dataset.type).METAINFO, **dataset.get('metainfo', {})}['classes'])


def run(
    experiment: Experiment, identity: dict, folder: Path, spec: Spec, lock: int | None = None
) -> dict:
    """Train and test once, going on where an earlier process was stopped.

    Args:
        experiment: What to run.
        identity: See :meth:`mmseg_pan.experiments.spec.Experiment.identity`.
        folder: Where its files go.
        spec: Whose means are computed, and beside whose results the confusion matrices go.
        lock: Descriptor of the lock on the folder, which the processes that train inherit.

    Returns:
        The line of the results file.
    """
    cfg = experiment.load(spec.root)
    names = _class_names(cfg)
    for key, one in spec.selections.items():
        if unknown := sorted(set(one.classes) - set(names)):
            raise UserError(
                f'selections.{key} has {unknown}, and {experiment.config} no such classes; '
                f'choose from {names}.'
            )
    file = folder / 'config.py'
    # A test needs no word on the training that it goes without: "0 iterations" is no valid setting.
    experiment._replace(checkpoint=None).load(spec.root).dump(file)
    commits = folder / 'commits.json'
    seen = json.loads(commits.read_text()) if commits.is_file() else []
    seen += [commit for commit in [_commit(spec.root)] if commit not in seen]
    write_whole(commits, json.dumps(seen).encode())
    train_and_test(file, folder, spec.root, lock, experiment.checkpoint)
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    matrices = confusions(dataset, folder / 'predictions')
    root = image_root(dataset)
    images = [image_name(path, root) for path in dataset_images(dataset)]
    counts = Counts(matrices, images)
    spec.results.save_counts(folder.name, counts)
    total = matrices.sum(0)
    iou = iou_by_class(total)
    return dict(
        kind='run',
        name=experiment.name,
        **identity,
        run=folder.name,
        iterations=cfg.train_cfg.max_iters,
        test_images=len(dataset),
        mIoU=round(mean_iou(total, names), 2),
        **_means(spec, names, counts),
        aAcc=round(pixel_accuracy(total), 2),
        IoU={n: None if np.isnan(v) else round(v, 2) for n, v in zip(names, iou, strict=True)},
        **training_time(folder),
        device=device_name(),
        commits=seen,
        versions=_versions(),
        date=str(date.today()),
    )


def train_and_test(
    file: Path, folder: Path, root: Path, lock: int | None = None, checkpoint: str | None = None
) -> None:
    """Train a config and write label maps of its test images, by ``tools/``.

    Args:
        file: The config.
        folder: Where checkpoints, logs and ``predictions/`` go.
        root: Of the checkout whose tools are run.
        lock: See :func:`run`.
        checkpoint: Is tested, and nothing trained; None: train, and test the last one.

    Raises:
        UserError: If a tool failed; its own words are above.
    """
    if checkpoint is None:
        _tool(root, lock, 'train.py', file, '--no-validate', '--resume=auto', '--work-dir', folder)
    tested, predictions = checkpoint or checkpoints(folder)[0], folder / 'predictions'
    _tool(root, lock, 'test.py', file, tested, '--out', predictions, '--work-dir', folder)


def _tool(root: Path, lock: int | None, tool: str, *args) -> None:
    command = [sys.executable, root / 'tools' / tool, *args]
    if run_child(command, pass_fds=[] if lock is None else [lock]):
        raise UserError(f'{tool} failed, see above; type the same command again to continue.')


def training_time(folder: Path) -> dict[str, float]:
    """Mean seconds of an iteration, and the share of them that waited for data."""
    rows = scalars(folder).values()
    seconds, waiting = (sum(row[key] for row in rows) for key in ('time', 'data_time'))
    return dict(
        seconds_per_iteration=round(seconds / max(len(rows), 1), 3),
        waiting_for_data=round(waiting / seconds, 3) if seconds else 0.0,
    )


def _commit(root: Path) -> str:
    """The commit of the code, with a plus where files differ from it.

    'unknown' without git, and where the code is not a clone but, say, an unpacked archive.
    """

    def git(*args: str) -> str:
        done = subprocess.run(['git', *args], cwd=root, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        # An archive may have been unpacked inside a clone of another project.
        if Path(git('rev-parse', '--show-toplevel')).resolve() != root.resolve():
            return 'unknown'
        differs = git('status', '--porcelain', '--untracked-files=no')
        return git('rev-parse', '--short=12', 'HEAD') + ('+' if differs else '')
    except (OSError, subprocess.CalledProcessError):
        return 'unknown'


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
