"""The archive for the VOC evaluation server."""

import gzip
import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from mmseg_pan.datasets.masks import encode_mask
from mmseg_pan.errors import UserError
from mmseg_pan.files import disk_errors_explained, write_whole
from mmseg_pan.outputs import MARK

#: comp6: training data of one's own choice (SBD's masks are not VOC's).
FOLDER = 'results/VOC2012/Segmentation/comp6_test_cls'


def check_prediction(file: Path, image: Path) -> np.ndarray:
    """Read one predicted label map and compare it with its image.

    Returns:
        The map, (H, W) uint8.

    Raises:
        UserError: If it is unreadable, has another size, or holds an id above 20.
    """
    try:
        labels = np.asarray(Image.open(file))
    except OSError as error:
        raise UserError(
            f'{file} is not a readable image ({error}); run tools/test.py again.'
        ) from None
    with Image.open(image) as photograph:
        expected = photograph.size[::-1]
    if labels.shape != expected:
        raise UserError(
            f'{file} has shape {labels.shape}, but {image.name} has {expected}; predict at the '
            'original size, as tools/test.py --out does.'
        )
    if labels.max() > 20:
        raise UserError(
            f'{file} holds the ids {sorted(set(labels[labels > 20].tolist()))}; the server takes 0 '
            'to 20, so test a model of the 21 VOC classes.'
        )
    return labels


def write_archive(predictions: Path, root: Path, names: list[str], out: Path) -> None:
    """Check predictions and pack them in the server's format.

    The archive appears under its name when it is whole; the same predictions give the
    same bytes.

    Args:
        predictions: Folder of label maps ``<id>.png``, as ``tools/test.py --out`` writes.
        root: VOC2012 folder with ``JPEGImages``.
        names: Ids of the test list.
        out: Archive to write (tar, gzip).

    Raises:
        UserError: If a map is missing, not asked for, or wrong.
    """
    found = {file.stem for file in predictions.glob('*.png')}
    for ids, fault in ((set(names) - found, 'lacks'), (found - set(names), 'has, unasked,')):
        if ids:
            raise UserError(
                f'{predictions} {fault} {len(ids)} of the maps, first {min(ids)}.png; the list has '
                f'{len(names)} names: test again with --out an empty folder.'
            )
    buffer = io.BytesIO()  # a few kilobytes a map
    with (
        gzip.GzipFile(MARK, 'wb', fileobj=buffer, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode='w', format=tarfile.USTAR_FORMAT) as archive,
    ):
        for name in names:
            image = root / 'JPEGImages' / f'{name}.jpg'
            labels = check_prediction(predictions / f'{name}.png', image)
            picture = encode_mask(labels.astype(np.uint8))
            member = tarfile.TarInfo(f'{FOLDER}/{name}.png')
            member.size = len(picture)
            archive.addfile(member, io.BytesIO(picture))
    with disk_errors_explained(out.parent):
        out.parent.mkdir(parents=True, exist_ok=True)
        write_whole(out, buffer.getvalue())
