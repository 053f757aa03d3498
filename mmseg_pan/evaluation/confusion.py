"""Confusion matrices, image by image, from label maps that a test wrote."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from mmseg.datasets import BaseSegDataset
from mmseg.datasets.transforms import LoadAnnotations

from mmseg_pan.errors import UserError


def confusion_matrix(
    truth: np.ndarray, prediction: np.ndarray, classes: int, ignore_index: int = 255
) -> np.ndarray:
    """Count pixels by what they are and what they were taken for.

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


def truths(dataset: BaseSegDataset):
    """Go through a data set's images and their labels.

    Yields:
        ``(img_path, truth)`` with class ids of shape (H, W), as training sees them.
    """
    load = LoadAnnotations()
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        yield info['img_path'], load(info)['gt_seg_map']


def read_label_map(folder: Path, img_path: str, reduce_zero_label: bool = False) -> np.ndarray:
    """Read what ``tools/test.py --out`` wrote for an image.

    Raises:
        UserError: If there is no such map.
    """
    file = folder / f'{Path(img_path).stem}.png'
    found = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
    if found is None:
        raise UserError(
            f'{file} is not there or is no image; write the label maps with '
            f'"tools/test.py CONFIG CHECKPOINT --out {folder}".'
        )
    return found - 1 if reduce_zero_label else found


def label_maps(dataset: BaseSegDataset, folder: Path):
    """Go through a data set's images, their labels and what was predicted for them.

    Args:
        dataset: A data set with labels.
        folder: What ``tools/test.py --out`` wrote for it.

    Yields:
        ``(img_path, truth, prediction)`` with class ids of shape (H, W).

    Raises:
        UserError: If a map is missing, has another size than its labels, or holds ids
            that are no class.
    """
    classes = len(dataset.metainfo['classes'])
    for img_path, truth in truths(dataset):
        prediction = read_label_map(folder, img_path, dataset.reduce_zero_label)
        name = Path(img_path).name
        if prediction.shape != truth.shape:
            raise UserError(
                f'The label map of {name} in {folder} has shape '
                f'{prediction.shape}, and its labels {truth.shape}; test again on this data set.'
            )
        if prediction.max() >= classes:
            raise UserError(
                f'The label map of {name} in {folder} holds the id {prediction.max()}, and the '
                f'data set has the classes 0 to {classes - 1}; test again on this data set.'
            )
        yield img_path, truth, prediction


def confusions(dataset: BaseSegDataset, folder: Path) -> np.ndarray:
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
