"""Label maps as pictures: over the image with a legend, in colours, or as plain ids."""

import io

import cv2
import numpy as np
from PIL import Image, ImageDraw

from mmseg_pan.datasets.masks import class_colours
from mmseg_pan.errors import UserError
from mmseg_pan.fonts import drawable_names, picture_font
from mmseg_pan.outputs import png_mark

#: The formats of results.
KINDS = ('overlay', 'palette', 'classes')

_DARK, _LIGHT = (40, 40, 40), (245, 245, 245)
_OPACITY = 0.5


class Painter:
    """Label maps of one set of classes as pictures.

    Args:
        meta: ``classes``, and ``palette`` with an RGB colour for each; where that is None or
            too short, VOC's colour map fills up.
        kind: One of :data:`KINDS`.

    Raises:
        UserError: If a palette PNG cannot hold that many classes.
    """

    def __init__(self, meta: dict, kind: str = 'overlay'):
        self.classes = meta['classes']
        self.names = drawable_names(self.classes)
        self.kind = kind
        if kind == 'palette' and len(self.classes) > 256:
            raise UserError(
                f'A palette PNG holds 256 classes and the model has {len(self.classes)}; type '
                '"--format classes".'
            )
        self.colours = class_colours(len(self.classes), meta.get('palette'))

    def encode(self, image: np.ndarray, labels: np.ndarray) -> bytes:
        """A picture as the bytes of a PNG.

        Args:
            image: ``(H, W, 3)`` uint8, BGR.
            labels: ``(H, W)`` class ids.
        """
        if self.kind == 'overlay':
            picture = Image.fromarray(self.overlay(image, labels)[:, :, ::-1])
        else:
            picture = Image.fromarray(labels)
            if self.kind == 'palette':
                picture.putpalette(self.colours[:256].tobytes())
        buffer = io.BytesIO()
        picture.save(
            buffer, 'PNG', compress_level=3, pnginfo=png_mark()
        )  # 6 takes three times as long
        return buffer.getvalue()

    def overlay(self, image: np.ndarray, labels: np.ndarray, rows: int | None = None) -> np.ndarray:
        """Paint the classes over the image, with a legend below.

        A class whose colour is black, as VOC's background, leaves the image as it is.

        Args:
            image: ``(H, W, 3)`` uint8, BGR.
            labels: ``(H, W)`` class ids.
            rows: Lines of the legend; None: as many as it takes.

        Returns:
            ``(H + legend, max(W, legend), 3)`` uint8, BGR.
        """
        paint = np.ascontiguousarray(self.colours[:, ::-1])[labels]
        painted = cv2.addWeighted(image, 1 - _OPACITY, paint, _OPACITY, 0)
        bare = ~self.colours.any(axis=1)[labels]
        painted[bare] = image[bare]
        painted[_outlines(labels)] = _LIGHT
        legend = self._legend(labels, rows)
        width = max(painted.shape[1], legend.shape[1])
        return np.concatenate([_widened(painted, width), _widened(legend, width)])

    def _legend(self, labels: np.ndarray, rows: int | None) -> np.ndarray:
        """The classes that occur, the largest first, ``(h, w, 3)`` BGR."""
        height, width = labels.shape
        size = max(13, round(max(height, width) / 40))
        gap, line = size // 2, round(1.6 * size)
        counts = np.bincount(labels.ravel(), minlength=len(self.classes))
        present = [int(item) for item in np.argsort(-counts, kind='stable') if counts[item]]
        texts = {item: f'{self.names[item]} {_share(counts[item], labels.size)}'
                 for item in present}  # fmt: skip
        places, left, row = {}, gap, 0
        for item, text in texts.items():
            entry = round(size + gap + picture_font(text, size).getlength(text))
            if left > gap and left + entry + gap > width:
                left, row = gap, row + 1
            if rows is not None and row == rows:
                break
            places[item] = (left, gap + row * line)
            width = max(width, left + entry + gap) if rows is None else width
            left += entry + 2 * gap
        lines = rows or row + 1
        strip = Image.new('RGB', (width, 2 * gap + lines * line), _DARK)
        draw = ImageDraw.Draw(strip)
        for item, (x, y) in places.items():
            colour = tuple(self.colours[item].tolist())
            outline = max(1, size // 12)
            draw.rectangle((x, y, x + size, y + size), colour, _LIGHT, outline)
            middle = y + size / 2
            font = picture_font(texts[item], size)
            draw.text((x + size + gap, middle), texts[item], _LIGHT, font, anchor='lm')
        return np.asarray(strip)[:, :, ::-1]


def _share(count: int, pixels: int) -> str:
    share = count / pixels
    return f'{share:.0%}' if share >= 0.01 else '<1%'


def _outlines(labels: np.ndarray) -> np.ndarray:
    """Borders between classes, wider in larger images."""
    edges = np.zeros(labels.shape, bool)
    edges[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    edges[:-1] |= labels[:-1] != labels[1:]
    side = 1 + max(labels.shape) // 800
    return cv2.dilate(edges.view(np.uint8), np.ones((side, side), np.uint8)).view(bool)


def _widened(picture: np.ndarray, width: int) -> np.ndarray:
    missing = width - picture.shape[1]
    return cv2.copyMakeBorder(picture, 0, 0, 0, missing, cv2.BORDER_CONSTANT, value=_DARK)
