"""The HTML report of a test, one file that opens offline."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from mmengine.logging import print_log

from mmseg_pan.errors import UserError
from mmseg_pan.evaluation.components import objects, recall_by_size
from mmseg_pan.evaluation.intervals import difference_of_networks
from mmseg_pan.evaluation.label_map_files import dataset_folders
from mmseg_pan.evaluation.labelled import LabelledImages
from mmseg_pan.files import disk_errors_explained, write_whole
from mmseg_pan.fonts import missing_letters
from mmseg_pan.outputs import MARK, check_folder, check_result

from . import plots
from .gallery import Gallery, data_uri
from .numbers import (
    FILE,
    Numbers,
    check_comparable,
    count_numbers,
    read_numbers,
    write_numbers,
)
from .training_logs import curve, read_rows

#: Images in the list of the best and in that of the worst.
SHOWN = 30
_TEMPLATES = Path(__file__).parent / 'templates'
_CURVES = {'loss': 'training loss', 'lr': 'learning rate', 'mIoU': 'validation mIoU, %'}


class Report:
    """A report to be written; the constructor checks that it can be.

    Args:
        dataset: The data set of the test, wrapped or not.
        folder: Where ``index.html`` and ``report.npz`` go.
        name: How the run is called.
        predictions: Where the test writes label maps; None: below the folder.
        other: Folder of another report to put beside this one.
        logs: Work dir of the training run, for its curves; None: no curves.
        facts: What else the page tells of the run, by its heading.
        config: The configuration, as text.

    Raises:
        UserError: If the data set has no labels, the folder cannot be written, or the
            other one is no report on the same data.
    """

    def __init__(
        self,
        dataset,
        folder: Path,
        name: str,
        predictions: Path | None = None,
        other: Path | None = None,
        logs: Path | None = None,
        facts: Mapping[str, str] | None = None,
        config: str = '',
    ):
        self.folder, self.name = folder, name
        self.dataset = LabelledImages(dataset, '--report')
        self.logs, self.facts, self.config = logs, facts or {}, config
        self.predictions = predictions or folder / 'predictions'
        self.other = None
        if other is not None:
            if other.resolve() == folder.resolve():
                raise UserError(f'--report and --compare both name {folder}; name two folders.')
            self.other = read_numbers(other)
            check_comparable(self.other, self.dataset, other)
        check_folder(folder, dataset_folders(dataset), '--report')
        for name in ('index.html', FILE):
            check_result(folder / name, option='--report')

    def write(self) -> Path:
        """Measure the label maps, draw, and write the page.

        Returns:
            The page.

        Raises:
            UserError: If a label map is missing or does not fit, or the disk is full.
        """
        numbers, other = count_numbers(self.dataset, self.predictions, self.name), self.other
        if other is not None and other.name == numbers.name:
            other = other._replace(name=f'{other.name} (other)')
        page = self.folder / 'index.html'
        html = self._render(numbers, other)
        if note := missing_letters(numbers.classes):
            print_log(note, 'current')
        with disk_errors_explained(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            write_numbers(numbers, self.folder)
            write_whole(page, html.encode('utf-8', 'replace'))
        return page

    def _render(self, numbers: Numbers, other: Numbers | None) -> str:
        gallery = Gallery(self.dataset, numbers, other)
        order = [i for i in np.argsort(numbers.image_iou) if not np.isnan(numbers.image_iou[i])]
        worst = order[: min(SHOWN, (len(order) + 1) // 2)]
        best = order[len(worst) :][::-1][:SHOWN]
        environment = Environment(
            loader=FileSystemLoader(_TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        return environment.get_template('report.html').render(
            numbers=numbers,
            other=other,
            comparison=other and _compare(numbers, other, gallery),
            classes=_class_rows(numbers, gallery),
            confused=_confused(numbers),
            sizes=_sizes(numbers, other),
            pictures=_draw(numbers, other, self.logs),
            worst=[gallery.row(i) for i in worst],
            best=[gallery.row(i) for i in best],
            facts=self.facts,
            config=self.config,
            numbers_file=FILE,
            missing_letters=missing_letters(numbers.classes),
            mark=MARK,
        )


def _draw(numbers: Numbers, other: Numbers | None, logs: Path | None) -> dict[str, str]:
    """Data URI of each plot; 'curves' only where training was logged."""
    names = [numbers.name] if other is None else [numbers.name, other.name]
    pictures = dict(
        iou=plots.draw_iou(numbers.classes, numbers.iou, other and other.iou, names),
        confusion=plots.draw_confusion(numbers.total, numbers.classes),
    )
    if other is not None:
        gaps = numbers.iou - other.iou
        pictures['gaps'] = plots.draw_differences(numbers.classes, gaps, numbers.images_of_class)
    sizes = _sizes(numbers, other)
    if sizes:
        pictures['sizes'] = plots.draw_recall_by_size(sizes, names)
    rows = read_rows(logs) if logs else []
    curves = {key: found for key in _CURVES if len((found := curve(rows, key))[0]) > 1}
    if curves:
        pictures['curves'] = plots.draw_curves({numbers.name: curves}, _CURVES)
    return {key: data_uri(picture) for key, picture in pictures.items()}


def _sizes(numbers: Numbers, other: Numbers | None) -> list:
    tables = [objects(one.components, one.classes) for one in (numbers, other) if one is not None]
    return recall_by_size(tables[0], len(numbers.images), *tables[1:])


def _class_rows(numbers: Numbers, gallery: Gallery) -> list[dict]:
    """IoU, recall and precision of each class in per cent, nan where there is nothing."""
    total, iou = numbers.total, numbers.iou
    with np.errstate(invalid='ignore'):
        recall = 100 * total.diagonal() / total.sum(1)
        precision = 100 * total.diagonal() / total.sum(0)
    return [
        dict(
            name=name,
            colour=gallery.colour(i),
            iou=iou[i],
            recall=recall[i],
            precision=precision[i],
            images=int(numbers.images_of_class[i]),
        )
        for i, name in enumerate(numbers.classes)
    ]


def _confused(numbers: Numbers, count: int = 8) -> list[tuple[str, str, float]]:
    """The pairs of classes (truth, prediction) that cost most pixels, and their share of errors."""
    wrong = numbers.total * (1 - np.eye(len(numbers.classes), dtype=np.int64))
    order = np.argsort(wrong, axis=None)[::-1][:count]
    pairs = [np.unravel_index(i, wrong.shape) for i in order if wrong.flat[i]]
    names = numbers.classes
    return [(names[a], names[b], 100 * wrong[a, b] / wrong.sum()) for a, b in pairs]


def _compare(numbers: Numbers, other: Numbers, gallery: Gallery) -> dict:
    """The interval of the difference, and the images on which two runs differ most."""
    gaps = numbers.image_iou - other.image_iou
    order = [i for i in np.argsort(gaps) if not np.isnan(gaps[i])]
    half = SHOWN // 2
    return dict(
        difference=difference_of_networks(numbers.confusions, other.confusions),
        worse=[gallery.row(i) for i in order[:half] if gaps[i] < 0],
        better=[gallery.row(i) for i in order[::-1][:half] if gaps[i] > 0],
    )
