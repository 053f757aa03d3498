"""Confusion matrices of single images, from label maps written by a test."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmseg.datasets import BaseSegDataset
from mmseg.datasets.transforms import LoadAnnotations

from mmseg_pan.errors import UserError

from .label_map_files import check_labels, image_name, image_root, read_label_map
from .labelled import LabelledImages


def confusion_matrix(
    truth: np.ndarray, prediction: np.ndarray, classes: int, ignore_index: int = 255
) -> np.ndarray:
    """Count pixels by true and predicted class.

    Args:
        truth: Class ids (H, W).
        prediction: Class ids (H, W).
        classes: Number of classes.
        ignore_index: Truth that does not count.

    Returns:
        ``(classes, classes)``, truth in rows and prediction in columns.
    """
    counted = truth != ignore_index
    pairs = classes * truth[counted].astype(np.int64) + prediction[counted]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def iou_by_class(confusion: np.ndarray) -> np.ndarray:
    """Intersection over union in per cent, nan for a class in neither truth nor prediction.

    Args:
        confusion: ``(..., classes, classes)``.

    Returns:
        ``(..., classes)``.
    """
    intersection = np.diagonal(confusion, axis1=-2, axis2=-1)
    union = confusion.sum(-1) + confusion.sum(-2) - intersection
    with np.errstate(invalid='ignore'):
        return 100 * intersection / union


def mean_iou(
    confusion: np.ndarray, names: Sequence[str], chosen: Sequence[str] | None = None
) -> float:
    """Mean over classes of the intersection over union, in per cent.

    Args:
        confusion: ``(classes, classes)``.
        names: Names of all classes.
        chosen: Names of the classes that count; None: all that are there.
    """
    found = iou_by_class(confusion)
    if chosen is not None:
        found = found[[list(names).index(name) for name in chosen]]
    return float(np.nanmean(found))


def pixel_accuracy(confusion: np.ndarray) -> float:
    """Share of pixels that were predicted right, in per cent, of ``(classes, classes)``."""
    return float(100 * np.trace(confusion) / confusion.sum())


def load_truth(dataset: BaseSegDataset | LabelledImages, index: int) -> np.ndarray:
    """Class ids (H, W) of an image, as a test loads them.

    Raises:
        UserError: If the mask holds an id that is neither a class nor ignored.
    """
    info = dataset.get_data_info(index)
    part = dataset.members[index][0] if isinstance(dataset, LabelledImages) else dataset
    steps = getattr(part.pipeline, 'transforms', [])
    load = next((step for step in steps if isinstance(step, LoadAnnotations)), None)
    truth = (load or LoadAnnotations())(dict(info))['gt_seg_map']
    classes = len(dataset.metainfo['classes'])
    check_labels(truth, info['seg_map_path'], classes, dataset.ignore_index)
    return truth


def truths(dataset: BaseSegDataset | LabelledImages):
    """Go through a data set's images and their labels.

    Yields:
        ``(img_path, truth)`` with class ids of shape (H, W), as a test loads them.

    Raises:
        UserError: See :func:`load_truth`.
    """
    for index in range(len(dataset)):
        yield dataset.get_data_info(index)['img_path'], load_truth(dataset, index)


def label_maps(dataset: BaseSegDataset | LabelledImages, folder: Path):
    """Go through a data set's images, their labels and what was predicted for them.

    Args:
        dataset: A data set with labels.
        folder: What ``tools/test.py --out`` wrote for it.

    Yields:
        ``(img_path, truth, prediction)`` with class ids of shape (H, W).

    Raises:
        UserError: If a map is missing, has another size than its labels, or a map or the
            labels hold ids that are no class.
    """
    classes, root = len(dataset.metainfo['classes']), image_root(dataset)
    for img_path, truth in truths(dataset):
        prediction = read_label_map(folder, img_path, root, dataset.reduce_zero_label)
        name = image_name(img_path, root)
        if prediction.shape != truth.shape:
            raise UserError(
                f'The label map of {name} in {folder} has shape '
                f'{prediction.shape}, and its labels {truth.shape}; test again on this data set.'
            )
        if prediction.max() >= classes:
            raise UserError(
                f'The label map of {name} in {folder} contains the id {prediction.max()}, but the '
                f'data set has the classes 0 to {classes - 1}; test again on this data set.'
            )
        yield img_path, truth, prediction


def confusions(dataset: BaseSegDataset | LabelledImages, folder: Path) -> np.ndarray:
    """Compare a folder of label maps with the labels of a data set.

    Args:
        dataset: A data set with labels.
        folder: What ``tools/test.py --out`` wrote for it.

    Returns:
        One matrix an image, ``(images, classes, classes)``.

    Raises:
        UserError: If a map is missing or does not fit, see :func:`label_maps`.
    """
    classes = len(dataset.metainfo['classes'])
    return np.stack(
        [
            confusion_matrix(truth, prediction, classes, dataset.ignore_index)
            for _, truth, prediction in label_maps(dataset, folder)
        ]
    )
