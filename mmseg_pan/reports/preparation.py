"""From a test's config and flags to its report."""

import hashlib
import shlex
import sys
from datetime import datetime
from importlib import import_module
from pathlib import Path

from mmengine.config import Config
from mmseg.evaluation import IoUMetric
from mmseg.registry import DATASETS, METRICS
from rich import filesize

from mmseg_pan.devices import device_name
from mmseg_pan.errors import UserError
from mmseg_pan.evaluation import FastIoUMetric
from mmseg_pan.evaluation.label_map_files import (
    check_label_map_files,
    dataset_images,
    image_name,
    image_root,
    single_datasets,
)
from mmseg_pan.reports.report import Report


def plan_report(
    cfg: Config,
    checkpoint: str,
    folder: str | None,
    predictions: str | None = None,
    other: str | None = None,
) -> Report | None:
    """Prepare the report before the test runs, so that user errors are found first.

    Args:
        cfg: Config of the test; its data must be there.
        checkpoint: What is tested; training logs are looked for beside it.
        folder: Of the report; None: no report.
        predictions: Where the test writes label maps; None: below the report's folder.
        other: Folder of another report to compare with.

    Raises:
        UserError: If the report could not be written or compared.
    """
    if folder is None:
        if other is not None:
            raise UserError('--compare needs --report; type "--report DIR --compare OTHER".')
        return None
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    return Report(
        dataset,
        Path(folder),
        Path(cfg.filename).stem,
        Path(predictions) if predictions else None,
        Path(other) if other else None,
        Path(checkpoint).parent,
        _facts(cfg, checkpoint, dataset),
        cfg.pretty_text,
    )


def write_label_maps(cfg: Config, folder: str | Path) -> None:
    """Make a test write its label maps, by a metric that keeps the images' sub-folders.

    Args:
        cfg: Config of the test, changed in place; its data must be there.
        folder: Where the label maps go.

    Raises:
        UserError: If two images would share a label map.
    """
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    check_label_map_files(dataset, folder)
    root = image_root(dataset)
    found = cfg.get('test_evaluator') or []
    evaluators = found if isinstance(found, list) else [found]
    if not evaluators:
        raise UserError('--out and --report need a test_evaluator in the config; add one.')
    for evaluator in evaluators:
        kind = evaluator['type']
        kind = METRICS.get(kind) if isinstance(kind, str) else kind
        if kind is IoUMetric:
            evaluator['type'], kind = 'FastIoUMetric', FastIoUMetric
        if isinstance(kind, type) and issubclass(kind, FastIoUMetric):
            evaluator.update(output_dir=str(folder), image_root=root)
            return
    if any('/' in image_name(path, root) for path in dataset_images(dataset)):
        raise UserError(
            f'{evaluators[0]["type"]} writes label maps without the subfolders of the images, so '
            "that equal names would collide; add dict(type='IoUMetric') to test_evaluator."
        )
    evaluators[0].update(output_dir=str(folder), keep_results=True)


def _facts(cfg: Config, checkpoint: str, dataset) -> dict[str, str]:
    names = ('mmseg_pan', 'torch', 'mmcv', 'mmengine', 'mmseg')
    versions = [f'{name} {import_module(name).__version__}' for name in names]
    found = {'config': cfg.filename, 'checkpoint': checkpoint}
    file = Path(checkpoint)
    if file.is_file():  # not an address
        found['size of the checkpoint'] = filesize.decimal(file.stat().st_size)
        found['SHA-256 of the checkpoint'] = _sha256(file)
    roots = dict.fromkeys(getattr(part, 'data_root', '') for part in single_datasets(dataset))
    return {
        **found,
        'data set': f'{type(dataset).__name__}, {", ".join(filter(None, roots))}',
        'command': shlex.join(sys.argv),
        'device': device_name(),
        'versions': ', '.join([f'Python {sys.version.split()[0]}', *versions]),
        'date': f'{datetime.now():%Y-%m-%d %H:%M}',
    }


def _sha256(file: Path) -> str:
    found = hashlib.sha256()
    with open(file, 'rb') as opened:
        while block := opened.read(1 << 20):
            found.update(block)
    return found.hexdigest()
