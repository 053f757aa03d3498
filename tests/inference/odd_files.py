"""Image files of every kind that people have, whole and broken."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

#: Orange on the left, blue on the right: what is turned or has channels swapped is seen.
ORANGE, BLUE = (250, 120, 10), (20, 40, 220)


def photograph(width: int = 60, height: int = 40) -> Image.Image:
    """An RGB image, orange on the left and blue on the right."""
    array = np.empty((height, width, 3), np.uint8)
    array[:, : width // 2], array[:, width // 2 :] = ORANGE, BLUE
    return Image.fromarray(array)


def jpeg_bytes(**options) -> bytes:
    """A JPEG of :func:`photograph`."""
    buffer = io.BytesIO()
    photograph().save(buffer, 'JPEG', quality=95, **options)
    return buffer.getvalue()


def rotated_jpeg(path: Path, orientation: int = 6) -> None:
    """A JPEG that a viewer turns; 6: a quarter to the right."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    path.write_bytes(jpeg_bytes(exif=exif))


def png_with_header(path: Path, width: int, height: int) -> None:
    """A PNG that claims a size and holds next to no data."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
        )

    header = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    data = chunk(b'IHDR', header) + chunk(b'IDAT', zlib.compress(b'\0' * 100)) + chunk(b'IEND', b'')
    path.write_bytes(b'\x89PNG\r\n\x1a\n' + data)


def animation(path: Path, frames: int = 3) -> None:
    """An animated GIF or WebP, or a TIFF with pages."""
    images = [Image.new('RGB', (60, 40), (80 * i, 10, 10)) for i in range(frames)]
    images[0].save(path, save_all=True, append_images=images[1:])


def write_good(folder: Path) -> list[str]:
    """Files that can be predicted, one of a kind; returns their names."""
    rotated_jpeg(folder / 'rotated.jpg')
    photograph().convert('L').save(folder / 'grey.png')
    photograph().convert('RGBA').save(folder / 'rgba.png')
    photograph().convert('P').save(folder / 'palette.png')
    photograph().convert('1').save(folder / 'bits.png')
    photograph().convert('CMYK').save(folder / 'cmyk.jpg')
    Image.fromarray(np.full((40, 60), 40000, np.uint16)).save(folder / 'deep.png')
    photograph().save(folder / 'still.gif')
    photograph().save(folder / 'UPPER.JPG', 'JPEG')
    Image.new('RGB', (1, 1)).save(folder / 'pixel.bmp')
    return sorted(path.name for path in folder.iterdir())


def write_broken(folder: Path) -> list[str]:
    """Files that cannot be predicted, each broken in its own way; returns their names."""
    before = {path.name for path in folder.iterdir()}
    (folder / 'cut.jpg').write_bytes(jpeg_bytes()[:-200])
    (folder / 'text.jpg').write_text('not an image')
    (folder / 'empty.jpg').touch()
    (folder / 'folder.jpg').mkdir()
    (folder / 'dangling.jpg').symlink_to(folder / 'nothing.jpg')
    animation(folder / 'animated.gif')
    png_with_header(folder / 'huge.png', 100_000, 100_000)
    png_with_header(folder / 'zero.png', 0, 40)
    Image.fromarray(np.ones((40, 60), np.float32)).save(folder / 'float.tif')
    Image.fromarray(np.full((40, 60), 900, np.uint16)).save(folder / 'twelve_bits.png')
    return sorted(path.name for path in folder.iterdir() if path.name not in before)
