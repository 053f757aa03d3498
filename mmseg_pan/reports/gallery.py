"""Pictures of a report: image, truth, prediction and errors, small enough to be embedded."""

import base64
import io
from pathlib import Path

import cv2
import mmcv
import numpy as np
from PIL import Image

from mmseg_pan.errors import UserError
from mmseg_pan.evaluation.confusion import confusion_matrix, iou_by_class, load_truth
from mmseg_pan.evaluation.label_map_files import image_root, read_label_map
from mmseg_pan.evaluation.labelled import LabelledImages

from .numbers import Numbers

#: Longest side of an embedded picture in pixels.
SIDE = 400
_RED, _WHITE = (226, 26, 28), (255, 255, 255)


class Gallery:
    """Pictures of the images of a data set, read one at a time.

    Args:
        dataset: A data set with labels.
        numbers: Of the run whose predictions are shown.
        other: Of another run; its predictions are shown where their files are still what
            its numbers were measured from.
    """

    def __init__(self, dataset: LabelledImages, numbers: Numbers, other: Numbers | None = None):
        self.dataset, self.numbers, self.other = dataset, numbers, other
        self.root = image_root(dataset)
        self.palette = np.asarray(dataset.metainfo['palette'], np.uint8)
        self._rows = {}

    def row(self, index: int) -> dict:
        """Return everything that the page shows of an image.

        Returns:
            'name'; 'iou' and 'other_iou' (None without another run) in per cent;
            'classes', a list of (name, colour, IoU); 'tiles', a list of (title, URI).
        """
        if index not in self._rows:  # the worst image may also be one of those that differ
            self._rows[index] = self._row(index)
        return self._rows[index]

    def _row(self, index: int) -> dict:
        numbers = self.numbers
        info = self.dataset.get_data_info(index)
        truth = load_truth(self.dataset, index)
        prediction = self._prediction(numbers, info)
        image = mmcv.imread(info['img_path'], channel_order='rgb')
        counted = truth != self.dataset.ignore_index
        tiles = [
            ('image', photograph(image)),
            ('truth', painted(truth, self.palette)),
            ('prediction', painted(prediction, self.palette)),
            ('errors', errors(image, truth != prediction, counted)),
        ]
        if self.other is not None:
            found = self._other_prediction(index, info, truth)
            if found is not None:
                tiles.append(('prediction of the other', painted(found, self.palette)))
        iou = iou_by_class(numbers.confusions[index])
        return dict(
            name=numbers.images[index],
            iou=float(numbers.image_iou[index]),
            other_iou=None if self.other is None else float(self.other.image_iou[index]),
            classes=[
                (numbers.classes[i], self.colour(i), float(iou[i]))
                for i in np.flatnonzero(~np.isnan(iou))
            ],
            tiles=tiles,
        )

    def colour(self, label: int) -> str:
        """A class's colour, as CSS writes it."""
        return '#{:02x}{:02x}{:02x}'.format(*self.palette[label])

    def _prediction(self, numbers: Numbers, info: dict) -> np.ndarray:
        zero = self.dataset.reduce_zero_label
        return read_label_map(Path(numbers.predictions), info['img_path'], self.root, zero)

    def _other_prediction(self, index: int, info: dict, truth: np.ndarray) -> np.ndarray | None:
        try:
            found = self._prediction(self.other, info)
        except UserError:  # the report was moved without its label maps
            return None
        classes = len(self.other.classes)
        if found.shape != truth.shape or found.max() >= classes:
            return None
        matrix = confusion_matrix(truth, found, classes, self.dataset.ignore_index)
        return found if np.array_equal(matrix, self.other.confusions[index]) else None


def photograph(image: np.ndarray) -> str:
    """An RGB image (H, W, 3) as a data URI."""
    return _jpeg(_shrink(image, cv2.INTER_AREA))


def painted(ids: np.ndarray, palette: np.ndarray) -> str:
    """Class ids (H, W) in the classes' colours, others white, as a data URI."""
    colours = np.full((256, 3), 255, np.uint8)
    colours[: len(palette)] = palette[:256]
    picture = Image.fromarray(_shrink(ids.astype(np.uint8), cv2.INTER_NEAREST))
    picture.putpalette(colours.tobytes())
    buffer = io.BytesIO()
    picture.save(buffer, 'PNG', optimize=True)
    return data_uri(buffer.getvalue(), 'image/png')


def errors(image: np.ndarray, wrong: np.ndarray, counted: np.ndarray) -> str:
    """The image in pale grey, wrong pixels red, those that do not count white.

    Args:
        image: RGB, (h, w, 3).
        wrong: Boolean, (H, W).
        counted: Boolean, (H, W).
    """
    kinds = _shrink(np.where(counted, 1 + wrong, 0).astype(np.uint8), cv2.INTER_NEAREST)
    grey = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), kinds.shape[::-1])
    picture = np.repeat((130 + grey[..., None] * 0.45).astype(np.uint8), 3, axis=2)
    picture[kinds == 0] = _WHITE
    picture[kinds == 2] = _RED
    return _jpeg(picture)


def data_uri(data: bytes, kind: str = 'image/png') -> str:
    """A file as an address that holds it."""
    return f'data:{kind};base64,{base64.b64encode(data).decode()}'


def _jpeg(picture: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, 'JPEG', quality=75, optimize=True)
    return data_uri(buffer.getvalue(), 'image/jpeg')


def _shrink(picture: np.ndarray, interpolation: int) -> np.ndarray:
    scale = SIDE / max(picture.shape[:2])
    if scale >= 1:
        return picture
    height, width = (max(1, round(scale * side)) for side in picture.shape[:2])
    return cv2.resize(picture, (width, height), interpolation=interpolation)
