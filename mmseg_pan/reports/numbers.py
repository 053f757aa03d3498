"""The numbers of a report: measured from label maps, stored with the page, compared."""

import io
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mmseg_pan.errors import UserError
from mmseg_pan.evaluation.components import components
from mmseg_pan.evaluation.confusion import (
    confusion_matrix,
    iou_by_class,
    label_maps,
    mean_iou,
    pixel_accuracy,
    truths,
)
from mmseg_pan.evaluation.label_map_files import image_name, image_root
from mmseg_pan.evaluation.labelled import LabelledImages
from mmseg_pan.files import write_whole
from mmseg_pan.outputs import MARK

FILE = 'report.npz'


class Numbers(NamedTuple):
    """The numbers of one run in a report, by image."""

    name: str
    classes: list[str]
    images: list[str]  # paths below the folder of the images
    confusions: np.ndarray  # (images, classes, classes), truth in rows
    components: np.ndarray  # (components, 4): image, class, size, right
    predictions: str  # folder of the label maps

    @property
    def total(self) -> np.ndarray:
        """Confusion matrix over all images."""
        return self.confusions.sum(0, dtype=np.int64)

    @property
    def iou(self) -> np.ndarray:
        """IoU of each class over all images, in per cent; nan where it does not occur."""
        return iou_by_class(self.total)

    @property
    def mean_iou(self) -> float:
        """Mean IoU over the classes that occur, in per cent."""
        return mean_iou(self.total, self.classes)

    @property
    def accuracy(self) -> float:
        """Share of pixels that were predicted right, in per cent."""
        return pixel_accuracy(self.total)

    @property
    def images_of_class(self) -> np.ndarray:
        """How many images have each class in their truth."""
        return (self.confusions.sum(2) > 0).sum(0)

    @property
    def image_iou(self) -> np.ndarray:
        """Mean IoU of each image over the classes in its truth or its prediction."""
        found = iou_by_class(self.confusions)
        counted = ~np.isnan(found)
        with np.errstate(invalid='ignore'):  # an image with no pixel that counts
            return np.where(counted, found, 0).sum(1) / counted.sum(1)


def count_numbers(dataset: LabelledImages, folder: Path, name: str) -> Numbers:
    """Compare label maps with the labels of a data set, one image at a time.

    Args:
        dataset: A data set with labels.
        folder: What ``tools/test.py --out`` wrote for it.
        name: How tables and plots call the run.

    Raises:
        UserError: If a map is missing or does not fit.
    """
    classes = list(dataset.metainfo['classes'])
    root, images, matrices, found = image_root(dataset), [], [], []
    for index, (img_path, truth, prediction) in enumerate(label_maps(dataset, folder)):
        images.append(image_name(img_path, root))
        matrix = confusion_matrix(truth, prediction, len(classes), dataset.ignore_index)
        matrices.append(matrix.astype(np.int32))
        parts = components(truth, prediction, dataset.ignore_index)
        found.append(np.insert(parts, 0, index, axis=1))
    return Numbers(
        name, classes, images, np.stack(matrices), np.concatenate(found), str(folder.resolve())
    )


def write_numbers(numbers: Numbers, folder: Path) -> None:
    """Save the numbers for a later comparison."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **numbers._asdict())
    with zipfile.ZipFile(buffer, 'a') as archive:
        archive.comment = MARK.encode()
    write_whole(folder / FILE, buffer.getvalue())


def read_numbers(folder: Path) -> Numbers:
    """Read the numbers of a report.

    Raises:
        UserError: If the folder holds none, or the file is damaged.
    """
    file = folder / FILE
    make = '"tools/test.py CONFIG CHECKPOINT --report DIR"'
    if not file.is_file():
        raise UserError(
            f'{folder} is not a report: it has no {FILE}; make one with {make}, or leave '
            '--compare out.'
        )
    try:
        with np.load(file) as found:
            values = {key: found[key] for key in Numbers._fields}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(
            f'{file} cannot be read as the numbers of a report ({error}); make them again with '
            f'{make}.'
        ) from None
    lists = {key: values[key].tolist() for key in ('name', 'classes', 'images', 'predictions')}
    return Numbers(**{**values, **lists})


def check_comparable(other: Numbers, dataset: LabelledImages, folder: Path) -> None:
    """Check that another report is about the same data set.

    Args:
        other: The other report's numbers.
        dataset: What is to be tested.
        folder: Of the other report.

    Raises:
        UserError: If its classes, images or labels are others.
    """
    advice = 'compare reports of one data set, or omit --compare.'
    classes = list(dataset.metainfo['classes'])
    if other.classes != classes:
        raise UserError(
            f'The report in {folder} has {_first_difference(other.classes, classes, "classes")}; '
            f'{advice}'
        )
    root = image_root(dataset)
    images = [image_name(dataset.get_data_info(i)['img_path'], root) for i in range(len(dataset))]
    if other.images != images:
        raise UserError(
            f'The report in {folder} has {_first_difference(other.images, images, "images")}; '
            f'{advice}'
        )
    for index, (img_path, truth) in enumerate(truths(dataset)):
        counts = np.bincount(truth[truth != dataset.ignore_index], minlength=len(classes))
        if not np.array_equal(counts, other.confusions[index].sum(1)):
            raise UserError(
                f'The report in {folder} was made with other labels of '
                f'{image_name(img_path, root)} than the data set has now; test the other network '
                'again, or omit --compare.'
            )


def _first_difference(found: list[str], expected: list[str], what: str) -> str:
    for one, two in zip(found, expected, strict=False):
        if one != two:
            return f'other {what} than the data set, "{one}" where it has "{two}"'
    return f'{len(found)} {what}, and the data set {len(expected)}'
