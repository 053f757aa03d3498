"""Label maps on disk: one PNG per image, in the subfolders of the images."""

import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from mmengine.dataset import BaseDataset
from PIL import Image

from mmseg_pan.errors import UserError
from mmseg_pan.outputs import check_folder, check_result, fitting_name, png_mark


def single_datasets(dataset) -> Iterator[BaseDataset]:
    """The data sets inside ConcatDataset, RepeatDataset and other wrappers, or the only one."""
    if hasattr(dataset, 'datasets'):
        inner = dataset.datasets
    elif hasattr(dataset, 'dataset'):
        inner = [dataset.dataset]
    else:
        yield dataset
        return
    for part in inner:
        yield from single_datasets(part)


def dataset_images(dataset) -> list[str]:
    """The absolute path of every image of a data set, wrapped or not."""
    return [
        os.path.abspath(part.get_data_info(index)['img_path'])
        for part in single_datasets(dataset)
        for index in range(len(part))
    ]


def dataset_folders(dataset) -> set[str]:
    """The folders of a data set's images and masks, those of ``data_prefix`` among them."""
    folders = set()
    for part in single_datasets(dataset):
        for index in range(len(part)):
            info = part.get_data_info(index)
            files = (info[key] for key in ('img_path', 'seg_map_path') if info.get(key))
            folders.update(os.path.dirname(os.path.abspath(file)) for file in files)
        prefixes = getattr(part, 'data_prefix', {}).values()
        folders.update(os.path.abspath(prefix) for prefix in prefixes if prefix)
    return folders


def image_root(dataset) -> str:
    """The folder below which all images of a data set lie: label maps repeat its sub-folders.

    It is ``data_prefix['img_path']``, unless the data set names images outside it or is made
    of several: then it is their common parent.
    """
    folders = {os.path.dirname(path) for path in dataset_images(dataset)}
    for part in single_datasets(dataset):
        prefix = getattr(part, 'data_prefix', {}).get('img_path')
        if prefix:
            folders.add(os.path.abspath(prefix))
    return os.path.commonpath(folders)


def image_name(img_path: str, root: str) -> str:
    """An image's path below :func:`image_root`, with forward slashes."""
    return Path(os.path.relpath(img_path, root)).as_posix()


def label_map_file(folder: str | Path, img_path: str, root: str) -> Path:
    """Where the label map of an image lies.

    Args:
        folder: Of the label maps.
        img_path: The image.
        root: See :func:`image_root`.
    """
    name = Path(image_name(img_path, root))
    return Path(folder, name.with_name(fitting_name(name.stem, '.png')))


def check_label_map_files(dataset, folder: str | Path) -> None:
    """Refuse to write two images' label maps to one file, or over a file that is none.

    Raises:
        UserError: Naming both images, the data set's folder, or the file.
    """
    check_folder(folder, dataset_folders(dataset))
    root, owners = image_root(dataset), {}
    for path in dataset_images(dataset):
        file = label_map_file(folder, path, root)
        first = owners.setdefault(file, path)
        if first != path:
            raise UserError(
                f'{first} and {path} would share the label map {file}; rename one of them, or '
                'test them separately.'
            )
    for file in owners:
        check_result(file)


def write_label_map(file: Path, labels: np.ndarray, reduce_zero_label: bool = False) -> None:
    """Write class ids (H, W) as a PNG; with ``reduce_zero_label`` as the masks count them."""
    labels = labels.astype(np.int64) + reduce_zero_label
    kind = np.uint8 if labels.size == 0 or labels.max() < 256 else np.uint16
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(labels.astype(kind)).save(file, pnginfo=png_mark())


def read_label_map(
    folder: Path, img_path: str, root: str, reduce_zero_label: bool = False
) -> np.ndarray:
    """Read what ``tools/test.py --out`` wrote for an image.

    Args:
        folder: Of the label maps.
        img_path: The image.
        root: See :func:`image_root`.
        reduce_zero_label: Whether the data set's masks count classes from 1.

    Returns:
        Class ids (H, W).

    Raises:
        UserError: If there is no such map.
    """
    file = label_map_file(folder, img_path, root)
    found = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
    if found is None:
        raise UserError(
            f'{file} does not exist or is not an image; write the label maps with '
            f'"tools/test.py CONFIG CHECKPOINT --out {folder}".'
        )
    return found - 1 if reduce_zero_label else found


def check_labels(
    labels: np.ndarray, path: str, classes: int, ignore_index: int | None = 255
) -> None:
    """Refuse labels that hold an id which is neither a class nor ignored.

    Args:
        labels: Class ids (H, W), as the data set loads them.
        path: The mask's file.
        classes: Number of classes.
        ignore_index: The ignored id.

    Raises:
        UserError: Naming the file and the ids.
    """
    strange = (labels >= classes) & (labels != ignore_index)
    if strange.any():
        ids = ', '.join(map(str, np.unique(labels[strange])[:5].astype(int)))
        raise UserError(
            f'{path}: illegal ids, ids {ids}, legal are 0-{classes - 1} and {ignore_index} '
            '(ignored); fix or remove it, and find all others with '
            '"python tools/verify_dataset.py CONFIG".'
        )
