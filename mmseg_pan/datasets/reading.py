"""Reading image files: one reader for training, verification and prediction.

The pixels are always those of the pipeline's own ``LoadImageFromFile``. What is decided here is
which files it must not read, because they are damaged or their values have no known meaning.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import cv2
import mmcv
import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmseg.registry import TRANSFORMS
from PIL import Image, PngImagePlugin

from .file_ends import is_complete, wrong_checksum

#: What Pillow may look into; it hands some other formats to programs of their own.
FORMATS = ('BMP', 'GIF', 'JPEG', 'JPEG2000', 'PNG', 'PPM', 'TIFF', 'WEBP')

# Image editors and generators store more text and larger colour profiles than Pillow's 1 MB.
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY = 2**28

_ORIENTATION = 0x0112  # EXIF tag; 1 is upright, 5 to 8 swap width and height
_SUBFILE, _BITS, _EXTRA = 254, 258, 338  # TIFF tags
_FEW = 4096  # values of 12 bits


class BadImageError(ValueError):
    """An image that is refused.

    Args:
        kind: A key of :data:`mmseg_pan.datasets.inspection.SEVERITY`.
        detail: What was found.
    """

    def __init__(self, kind: str, detail: str):
        super().__init__(f'{kind}, {detail}')
        self.kind = kind
        self.detail = detail


@dataclass(frozen=True)
class Loading:
    """The options of ``LoadImageFromFile`` that decide what an array holds.

    Args:
        color_type: ``color``, ``grayscale``, ``unchanged`` and so on.
        backend: ``cv2``, ``pillow``, ``tifffile`` or ``turbojpeg``.
    """

    color_type: str = 'color'
    backend: str | None = 'cv2'

    @classmethod
    def of(cls, pipeline: Sequence[Any]) -> 'Loading | None':
        """The options of a pipeline's first step, a config or a transform.

        Returns:
            None where it is another loader, which reads in its own way.
        """
        first = pipeline[0] if len(pipeline) else {'type': 'LoadImageFromFile'}
        if isinstance(first, LoadImageFromFile):
            return cls(first.color_type, first.imdecode_backend)
        kind = first.get('type') if isinstance(first, dict) else type(first)
        if kind == 'InferencerLoader':
            return cls()
        kind = TRANSFORMS.get(kind) if isinstance(kind, str) else kind
        if not (isinstance(kind, type) and issubclass(kind, LoadImageFromFile)):
            return None
        return cls(first.get('color_type', 'color'), first.get('imdecode_backend', 'cv2'))

    @property
    def to_bytes(self) -> bool:
        """Whether other depths become eight bits and an alpha channel is dropped."""
        return self.color_type != 'unchanged' and self.backend != 'tifffile'

    @property
    def turns(self) -> bool:
        """Whether images are turned by their EXIF orientation."""
        return self.color_type in ('color', 'grayscale') and self.backend != 'tifffile'

    def decode(self, data: bytes) -> np.ndarray:
        """The array that training gets, ``(H, W)`` or ``(H, W, C)``, BGR.

        Raises:
            BadImageError: If it cannot be decoded.
        """
        try:
            image = mmcv.imfrombytes(data, flag=self.color_type, backend=self.backend)
        except Exception as error:  # a decoder may fail in any way on a damaged file
            raise BadImageError('unreadable', _message(error)) from error
        if image is None:
            raise BadImageError(
                'unreadable', 'cannot identify image file, or OpenCV cannot decode it'
            )
        return image

    def frame(self, frame: np.ndarray) -> np.ndarray:
        """A video's frame ``(H, W, 3)``, BGR, as an image file would be loaded."""
        grey = self.color_type.startswith('grayscale')
        return cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY) if grey else frame


@dataclass
class Examined:
    """The size from the header, and peculiarities.

    Args:
        size: Height and width as loaded.
        notes: Kind and detail of what biases a training without breaking it.
    """

    size: tuple[int, int]
    notes: list[tuple[str, str]] = field(default_factory=list)


def examine(
    data: bytes,
    loading: Loading,
    decode: bool = True,
    check_size: Callable[[int, int], None] | None = None,
) -> Examined:
    """Check for content that would be read wrongly or not at all.

    Args:
        data: The whole file.
        loading: How it will be read.
        decode: Without it the pixels of common JPEGs and PNGs are not decoded, which is thirty
            times as fast and does not find damage inside a JPEG's scan.
        check_size: Called with height and width before anything is decoded.

    Raises:
        BadImageError: If it must not be read.
    """
    with _size_checked_elsewhere():
        try:
            image = Image.open(io.BytesIO(data), formats=FORMATS)
        except Image.UnidentifiedImageError:  # but OpenCV may know it
            return Examined(loading.decode(data).shape[:2])
        except Exception as error:
            raise BadImageError('unreadable', _message(error)) from error
        check_end(image.format, data)
        if check_size is not None:
            check_size(image.height, image.width)
        try:
            result = Examined((image.height, image.width))
            _check_frames(image, loading)
            if loading.to_bytes:
                _check_depth(image, data)
            _look_at_orientation(image, data, loading, result)
            if decode or image.format not in ('JPEG', 'MPO', 'PNG'):
                _decode(image, data, loading)
            if loading.to_bytes and _is_transparent(image):
                detail = 'transparent parts are loaded in the colours stored below them'
                result.notes.append(('transparency', detail))
        except BadImageError:
            raise
        except Exception as error:
            kind = 'truncated' if 'truncated' in str(error) else 'unreadable'
            raise BadImageError(kind, _message(error)) from error
    return result


def open_mask(data: bytes) -> Image.Image:
    """Decode a mask with Pillow, as ``LoadAnnotations`` does.

    Raises:
        BadImageError: If it cannot be decoded whole.
    """
    with _size_checked_elsewhere():
        try:
            image = Image.open(io.BytesIO(data), formats=FORMATS)
            check_end(image.format, data)
            image.load()
        except BadImageError:
            raise
        except Exception as error:
            kind = 'truncated' if 'truncated' in str(error) else 'unreadable'
            raise BadImageError(kind, _message(error)) from error
    return image


def _decode(image: Image.Image, data: bytes, loading: Loading) -> None:
    """Decode as Pillow does, which tells of missing data, and as training does."""
    common = image.format in ('JPEG', 'MPO', 'PNG')
    try:
        image.load()
    except Exception as error:
        if common or 'truncated' in str(error):
            raise
    if not common:
        loading.decode(data)


def _check_frames(image: Image.Image, loading: Loading) -> None:
    """Refuse animations and pages, of which the loader takes the first."""
    count = getattr(image, 'n_frames', 1)
    # An MPO's further frames are previews or the view of the other eye.
    if count == 1 or image.format == 'MPO' or loading.backend == 'tifffile':
        return
    if image.format == 'TIFF':
        count = 0
        for index in range(image.n_frames):
            image.seek(index)
            count += not image.tag_v2.get(_SUBFILE, 0) & 0b101  # overviews and masks
        image.seek(0)
    if count > 1:
        raise BadImageError('several frames', f'it is animated or has pages ({count} frames)')


def _check_depth(image: Image.Image, data: bytes) -> None:
    """Refuse values that would be clipped or nearly black when reduced to 8 bits."""
    bits = 8
    if image.format == 'PNG':
        bits = data[24]
    elif image.format == 'TIFF':
        bits = max(image.tag_v2.get(_BITS, (1,)))
    elif image.mode.startswith('I'):
        bits = 16
    if bits <= 8:
        return
    if image.mode == 'F' or bits > 16:
        detail = f'it is stored in mode {image.mode}, whose range of values is unknown'
        raise BadImageError('unknown range', detail)
    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None:
        raise BadImageError('unreadable', f'OpenCV cannot decode {image.mode} with {bits} bits')
    if values.dtype.kind != 'u':
        detail = f'it is stored as {values.dtype}, whose range of values is unknown'
        raise BadImageError('unknown range', detail)
    top = int(values[..., :3].max() if values.ndim == 3 else values.max())
    if values.dtype == np.uint16 and 0 < top < _FEW:
        detail = f'16 bits a channel but no value above {top}, nearly black when reduced to 8 bits'
        raise BadImageError('low values', detail)


def _look_at_orientation(
    image: Image.Image, data: bytes, loading: Loading, result: Examined
) -> None:
    """Take the size from the loader where a file says that it lies on its side."""
    if image.getexif().get(_ORIENTATION, 1) in (0, 1):
        return
    result.size = loading.decode(data).shape[:2]
    # Pillow takes it from XMP too, and OpenCV does not.
    stored = Image.Exif()
    stored.load(image.info.get('exif', b''))
    tags = image.tag_v2 if image.format == 'TIFF' else stored
    orientation = tags.get(_ORIENTATION, 1)
    if loading.turns and orientation not in (0, 1):
        detail = f'orientation {orientation}: OpenCV rotates the image but not the mask'
        result.notes.append(('EXIF rotation', detail))


def _is_transparent(image: Image.Image) -> bool:
    if not image.has_transparency_data:
        return False
    if image.format == 'TIFF' and not set(image.tag_v2.get(_EXTRA, ())) & {1, 2}:
        return False  # a fourth band of another meaning, such as near infrared
    alpha = np.asarray(image.convert('RGBA').getchannel('A'))
    unused = image.format == 'BMP' and not alpha.any()
    return bool((alpha < 255).any()) and not unused


def check_end(image_format: str | None, data: bytes) -> None:
    """Refuse truncated files: decoders silently fill a JPEG with grey.

    Raises:
        BadImageError: If a JPEG or PNG has no end, or a PNG's data was changed.
    """
    if not is_complete(image_format, data):
        detail = f'the {image_format} has no end mark after {len(data):,} bytes'
        raise BadImageError('truncated', detail)
    if image_format == 'PNG' and (place := wrong_checksum(data)):
        raise BadImageError('unreadable', f'the checksum of the PNG is wrong at byte {place:,}')


def _message(error: Exception) -> str:
    """A decoder's message on one line, without the address of the buffer."""
    return ' '.join((str(error) or type(error).__name__).split(' <_io')[0].split())[:150]


@contextmanager
def _size_checked_elsewhere() -> Iterator[None]:
    """Disable Pillow's limit on image size, which OpenCV does not have."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit
