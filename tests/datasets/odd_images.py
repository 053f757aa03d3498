"""Image files whose pixels can be understood in more than one way."""

import io
import struct
import zlib
from collections.abc import Callable

import cv2
import numpy as np
from PIL import Image

from tests.datasets.own_data import HEIGHT, WIDTH, colours


def pillow(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def opencv(array: np.ndarray, suffix: str) -> bytes:
    """Channels in the order of RGB."""
    if array.ndim == 3:
        array = np.ascontiguousarray(array[..., [2, 1, 0, 3][: array.shape[2]]])
    return cv2.imencode(suffix, array)[1].tobytes()


def rgb() -> Image.Image:
    return Image.fromarray(colours())


def deep(factor: int, channels: int = 3) -> np.ndarray:
    """16 bits a channel; a fourth channel is opaque."""
    array = colours().astype(np.uint16) * factor
    if channels == 1:
        return array[..., 0]
    return np.dstack([array, np.full(array.shape[:2], 65535, np.uint16)])[..., :channels]


def with_exif(kind: str, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return pillow(rgb(), kind, exif=exif)


def with_xmp(kind: str) -> bytes:
    """An orientation that OpenCV does not look for."""
    packet = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description '
        b'tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
    )
    if kind == 'PNG':
        return with_chunk(b'iTXt', b'XML:com.adobe.xmp\0\0\0\0\0' + packet)
    data = pillow(rgb(), kind)
    block = b'http://ns.adobe.com/xap/1.0/\0' + packet
    return data[:2] + b'\xff\xe1' + struct.pack('>H', len(block) + 2) + block + data[2:]


def with_chunk(kind: bytes, content: bytes) -> bytes:
    """A PNG with one more chunk behind its header."""
    data = pillow(rgb(), 'PNG')
    checksum = struct.pack('>I', zlib.crc32(kind + content))
    return data[:33] + struct.pack('>I', len(content)) + kind + content + checksum + data[33:]


def tiff(samples: np.ndarray, photometric: int) -> bytes:
    """An uncompressed TIFF that says nothing on what further bands are."""
    samples = samples[..., None] if samples.ndim == 2 else samples
    bits, count = 8 * samples.itemsize, samples.shape[2]
    values = samples.tobytes()
    tags = [
        (256, 4, 1, WIDTH), (257, 4, 1, HEIGHT), (258, 3, count, bits), (259, 3, 1, 1),
        (262, 3, 1, photometric), (273, 4, 1, 0), (277, 3, 1, count), (278, 4, 1, HEIGHT),
        (279, 4, 1, len(values)), (284, 3, 1, 1),
    ]  # fmt: skip
    place = 8 + 2 + 12 * len(tags) + 4
    depths = struct.pack(f'<{count}H', *[bits] * count) if count > 1 else b''
    where = {258: place if count > 1 else bits, 273: place + len(depths)}
    entries = [struct.pack('<HHII', *tag[:3], where.get(tag[0], tag[3])) for tag in tags]
    head = b'II*\0' + struct.pack('<IH', 8, len(tags)) + b''.join(entries)
    return head + struct.pack('<I', 0) + depths + values


def bmp_with_unused_byte() -> bytes:
    """32 bits a pixel with a mask for a fourth channel, which is 0 everywhere."""
    pixels = np.dstack([colours()[::-1, :, ::-1], np.zeros((HEIGHT, WIDTH), np.uint8)]).tobytes()
    header = struct.pack('<IiiHHIIiiII', 108, WIDTH, HEIGHT, 1, 32, 3, len(pixels), 1, 1, 0, 0)
    header += struct.pack('<IIII', 0xFF0000, 0xFF00, 0xFF, 0xFF000000) + b'BGRs' + bytes(48)
    start = 14 + len(header)
    return b'BM' + struct.pack('<IHHI', start + len(pixels), 0, 0, start) + header + pixels


def transparent(mode: str) -> bytes:
    image = rgb().convert('RGBA')
    image.paste((0, 0, 0, 0), (0, 0, WIDTH // 2, HEIGHT))
    if mode == 'P':
        image = rgb().quantize(8)
        return pillow(image, 'PNG', transparency=image.getpixel((0, 0)))
    return pillow(image.convert(mode), 'PNG')


def frames(kind: str) -> bytes:
    return pillow(rgb(), kind, save_all=True, append_images=[rgb().rotate(180)])


LONG = np.random.default_rng(0).bytes(1_500_000)
GREY = np.repeat(colours()[..., :1], 3, axis=2)
PNG = pillow(rgb(), 'PNG')
JPEG = pillow(rgb(), 'JPEG', quality=95)

#: Name -> bytes, and the true image in RGB where it does not depend on a codec.
READ: dict[str, tuple[Callable[[], bytes], np.ndarray | None]] = {
    '16 bits, grey': (lambda: opencv(deep(257, 1), '.png'), GREY),
    '16 bits, colour': (lambda: opencv(deep(257), '.png'), colours()),
    '16 bits, colour TIFF': (lambda: opencv(deep(257), '.tif'), colours()),
    '16 bits, black': (lambda: opencv(deep(0), '.png'), np.zeros_like(GREY)),
    'EXIF 6 in a JPEG': (lambda: with_exif('JPEG', 6), None),
    'EXIF 3 in a JPEG': (lambda: with_exif('JPEG', 3), None),
    'EXIF 6 in a PNG': (lambda: with_exif('PNG', 6), None),
    'EXIF 8 in a WebP': (lambda: with_exif('WEBP', 8), None),
    'EXIF 6 in a TIFF': (lambda: with_exif('TIFF', 6), None),
    'XMP in a JPEG': (lambda: with_xmp('JPEG'), None),
    'XMP in a PNG': (lambda: with_xmp('PNG'), colours()),
    'near infrared': (
        lambda: tiff(np.dstack([colours(), 255 - colours()[..., 1]]), 2),
        colours(),
    ),
    'near infrared, 16 bits': (
        lambda: tiff(np.dstack([deep(257), deep(257, 1)]), 2),
        colours(),
    ),
    'white is zero': (lambda: tiff(255 - colours()[..., 0], 0), GREY),
    'white is zero, 16 bits': (lambda: tiff(65535 - deep(257, 1), 0), GREY),
    'unused byte': (bmp_with_unused_byte, colours()),
    'transparent': (lambda: transparent('RGBA'), None),
    'transparent grey': (lambda: transparent('LA'), None),
    'transparent palette': (lambda: transparent('P'), None),
    'palette': (lambda: pillow(rgb().quantize(8), 'PNG'), None),
    'CMYK JPEG': (lambda: pillow(rgb().convert('CMYK'), 'JPEG'), None),
    'CMYK TIFF': (lambda: pillow(rgb().convert('CMYK'), 'TIFF'), None),
    'black and white': (lambda: pillow(rgb().convert('1'), 'PNG'), None),
    'GIF': (lambda: pillow(rgb(), 'GIF'), None),
    'JPEG 2000': (lambda: pillow(rgb(), 'JPEG2000'), colours()),
    'progressive': (lambda: pillow(rgb(), 'JPEG', progressive=True), None),
    'long text': (
        lambda: with_chunk(b'zTXt', b'a\0\0' + zlib.compress(b'text' * 10**6)),
        colours(),
    ),
    'long profile': (lambda: with_chunk(b'iCCP', b'a\0\0' + zlib.compress(LONG)), colours()),
    'bytes after a JPEG': (lambda: JPEG + b'\xff\xda' + LONG[:5000], None),
    'bytes after a PNG': (lambda: PNG + LONG[:5000], colours()),
}

#: Name -> bytes, and the kind of fault.
REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    '12 bits, grey': (lambda: opencv(deep(16, 1), '.png'), 'low values'),
    '12 bits, colour': (lambda: opencv(deep(16), '.png'), 'low values'),
    '12 bits, opaque': (lambda: opencv(deep(16, 4), '.png'), 'low values'),
    '12 bits, grey TIFF': (lambda: opencv(deep(16, 1), '.tif'), 'low values'),
    '12 bits, colour TIFF': (lambda: opencv(deep(16), '.tif'), 'low values'),
    '12 bits, PGM': (lambda: opencv(deep(16, 1), '.pgm'), 'low values'),
    '12 bits, JPEG 2000': (lambda: pillow(Image.fromarray(deep(16, 1)), 'JPEG2000'), 'low values'),
    'floating point': (lambda: pillow(rgb().convert('F'), 'TIFF'), 'unknown range'),
    '32 bits': (lambda: pillow(rgb().convert('I'), 'TIFF'), 'unknown range'),
    'animation': (lambda: frames('GIF'), 'several frames'),
    'animated PNG': (lambda: frames('PNG'), 'several frames'),
    'animated WebP': (lambda: frames('WEBP'), 'several frames'),
    'pages': (lambda: frames('TIFF'), 'several frames'),
    'cut JPEG': (lambda: JPEG[:-40], 'truncated'),
    'cut JPEG with bytes after it': (lambda: JPEG[:-40] + bytes(500), 'truncated'),
    'cut PNG': (lambda: PNG[:-40], 'truncated'),
    'cut BMP': (lambda: pillow(rgb(), 'BMP')[:-400], 'truncated'),
    'PNG with a flipped bit': (lambda: PNG[:60] + bytes([PNG[60] ^ 4]) + PNG[61:], 'unreadable'),
    'noise': (lambda: LONG[:500], 'unreadable'),
}
