"""Faster training transforms with bit-identical samples.

Each draws the same random numbers in the same order as the transform of MMSeg that it
extends, and leaves an array that it is not made for (anything but ``uint8`` with no or
three channels) to that transform. ``tests/datasets/benchmark_transforms.py`` measures
them.

Loading and resizing stay as they are. Resizing only what the crop will show is not
bit-identical: OpenCV's interpolation weights depend on where a pixel stands in the whole
image.
"""

import cv2
import numpy as np
from mmcv.transforms.utils import cache_randomness
from mmseg.datasets.transforms import (
    PackSegInputs,
    PhotoMetricDistortion,
    RandomCrop,
    RandomFlip,
)
from mmseg.registry import TRANSFORMS

#: Every value of a channel. Stock arithmetic on it gives a look-up table; nothing writes to it.
RAMP = np.arange(256, dtype=np.uint8)
RAMP.setflags(write=False)

#: The argument of ``cv2.flip``.
FLIP_CODES = dict(horizontal=1, vertical=0, diagonal=-1)

#: OpenCV counts in float32, which is exact below this many pixels.
MAX_COUNTED = 2**24


def is_grey(array: np.ndarray) -> bool:
    """Whether it is a mask of bytes, shape ``(H, W)``."""
    return array.dtype == np.uint8 and array.ndim == 2


def is_colour(array: np.ndarray) -> bool:
    """Whether it is an image of bytes, shape ``(H, W, 3)``."""
    return array.dtype == np.uint8 and array.shape[2:] == (3,)


@TRANSFORMS.register_module()
class FastRandomCrop(RandomCrop):
    """``RandomCrop`` that counts a crop's labels without sorting its pixels.

    To know whether one class fills a crop, the stock transform sorts the crop with
    ``np.unique``, up to ten times a sample. This one counts the pixels of the class that
    mostly is the largest, takes a histogram where that does not decide, and does neither
    for a window that it has turned down before: an image that fits in the crop has only one.

    It takes ``RandomCrop``'s arguments.
    """

    # A list of its own: mmcv's decorator would add to RandomCrop's and break that one's caching.
    _methods_with_randomness = []

    #: The class that was last the largest: a guess that changes the time taken, not the window.
    _usual = 0

    @cache_randomness
    def crop_bbox(self, results: dict) -> tuple[int, int, int, int]:
        """Draw the window, ``(top, bottom, left, right)`` in pixels of ``results['img']``."""
        mask = results.get('gt_seg_map')
        countable = mask is not None and is_grey(mask) and np.prod(self.crop_size) < MAX_COUNTED
        if not (self.cat_max_ratio < 1 and countable):
            return super().crop_bbox(results)
        shape = results['img'].shape
        window = self._draw(shape)
        rejected = set()
        for _ in range(10):
            if window not in rejected:
                if self._is_mixed(self.crop(mask, window)):
                    break
                rejected.add(window)
            window = self._draw(shape)
        return window

    def _draw(self, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
        (height, width), (high, wide) = shape[:2], self.crop_size
        top = np.random.randint(0, max(height - high, 0) + 1)
        left = np.random.randint(0, max(width - wide, 0) + 1)
        return top, top + high, left, left + wide

    def _is_mixed(self, mask: np.ndarray) -> bool:
        """Whether two classes are in it, and none has ``cat_max_ratio`` of it."""
        counted = mask.size - np.count_nonzero(mask == self.ignore_index)
        usual = 0
        if self._usual != self.ignore_index:
            usual = np.count_nonzero(mask == self._usual)
        # A class that already has too much, or has half and thus the most, decides alone.
        if not counted or usual / counted >= self.cat_max_ratio:
            return False
        if 2 * usual >= counted:
            return True
        counts = cv2.calcHist([mask], [0], None, [256], [0, 256]).ravel()
        if 0 <= self.ignore_index < len(counts):
            counts[self.ignore_index] = 0
        self._usual = int(counts.argmax())
        # Both are integers, as in the stock quotient: float32 would round it differently.
        return int(counts.max()) / counted < self.cat_max_ratio


@TRANSFORMS.register_module()
class FastRandomFlip(RandomFlip):
    """``RandomFlip`` that leaves an image whose rows lie in memory from left to right.

    The stock transform gives a view with a negative stride. Each OpenCV call on such
    a view copies it first, pixel by pixel, which takes longer than the call. So it is the
    transforms after this one that take less time.

    It takes ``RandomFlip``'s arguments.
    """

    def _flip(self, results: dict) -> None:
        image = results['img']
        super()._flip(results)
        if is_colour(image) or is_grey(image):
            results['img'] = cv2.flip(image, FLIP_CODES[results['flip_direction']])


@TRANSFORMS.register_module()
class FastPhotoMetricDistortion(PhotoMetricDistortion):
    """``PhotoMetricDistortion`` by look-up tables.

    Each of its steps maps a byte to a byte, without regard to where it stands. So the
    stock arithmetic runs on the 256 values that there are, and the image goes through
    the table. Steps with nothing between them share one; a colour conversion between
    them rounds, and so cannot be left out.

    It takes ``PhotoMetricDistortion``'s arguments.
    """

    def transform(self, results: dict) -> dict:
        """Distort ``results['img']``; the array that came in is not changed."""
        if not is_colour(results['img']):
            return super().transform(results)
        first = self.brightness(RAMP)
        contrast_first = np.random.randint(2)
        if contrast_first:
            first = self.contrast(first)
        saturation = self._saturation_table()
        hue = self._hue_table()
        last = RAMP if contrast_first else self.contrast(RAMP)

        image = results['img']
        if saturation is RAMP and hue is RAMP:
            image = look_up(image, last[first])
        else:
            image = look_up(image, first)
            image = look_up_hsv(image, 1, saturation)
            image = look_up_hsv(image, 0, hue)
            image = look_up(image, last)
        results['img'] = image
        return results

    def _saturation_table(self) -> np.ndarray:
        if not np.random.randint(2):
            return RAMP
        factor = np.random.uniform(self.saturation_lower, self.saturation_upper)
        return self.convert(RAMP, alpha=factor)

    def _hue_table(self) -> np.ndarray:
        if not np.random.randint(2):
            return RAMP
        shift = np.random.randint(-self.hue_delta, self.hue_delta)
        return ((RAMP.astype(int) + shift) % 180).astype(np.uint8)  # OpenCV's hue: half degrees


def look_up(image: np.ndarray, table: np.ndarray) -> np.ndarray:
    """``table[image]``, or the image itself where the table changes nothing."""
    return image if np.array_equal(table, RAMP) else cv2.LUT(image, table)


def look_up_hsv(image: np.ndarray, channel: int, table: np.ndarray) -> np.ndarray:
    """The same for one channel of hue, saturation and value; the image is BGR."""
    if table is RAMP:  # not: equals it, as the way to HSV and back changes an image
        return image
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
    cv2.insertChannel(cv2.LUT(cv2.extractChannel(hsv, channel), table), hsv, channel)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)


@TRANSFORMS.register_module()
class FastPackSegInputs(PackSegInputs):
    """``PackSegInputs`` that splits the channels with OpenCV.

    It takes ``PackSegInputs``'s arguments.
    """

    def transform(self, results: dict) -> dict:
        """Pack an image of shape ``(H, W, 3)`` as a tensor of shape ``(3, H, W)``."""
        image = results.get('img')
        if image is not None and is_colour(image):
            planes = np.empty((3, *image.shape[:2]), np.uint8)
            channels = cv2.split(image, list(planes))
            if not all(map(np.may_share_memory, channels, planes)):  # OpenCV need not
                planes = np.stack(channels)
            # The stock transform turns this view back into ``planes`` without a copy.
            results = {**results, 'img': planes.transpose(1, 2, 0)}
        return super().transform(results)
