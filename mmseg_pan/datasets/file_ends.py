"""Check that a JPEG or PNG is complete, without decoding it; trailing bytes are accepted."""

import re
import struct
import zlib
from collections.abc import Iterator

# Inside a JPEG's scan FF is followed by 0, or by D0 to D7 where the decoder starts anew.
_MARKER = re.compile(rb'\xff+([^\x00\xd0-\xd7\xff])')
_BARE = (0x01, 0xD8)  # markers without a length


def is_complete(image_format: str | None, data: bytes) -> bool:
    """Whether the end mark is there; True for formats that have none."""
    if image_format in ('JPEG', 'MPO'):
        return _has_end_of_image(data)
    if image_format == 'PNG':
        return any(kind == b'IEND' for kind, *_ in _png_chunks(data))
    return True


def wrong_checksum(data: bytes) -> int | None:
    """Where the first chunk of a PNG begins that is needed and does not fit its checksum."""
    for kind, place, end in _png_chunks(data):
        needed = not kind[0] & 0x20
        if needed and zlib.crc32(data[place + 4 : end - 4]) != int.from_bytes(
            data[end - 4 : end], 'big'
        ):
            return place
    return None


def _has_end_of_image(data: bytes) -> bool:
    """Walk from segment to segment: a thumbnail inside one has an end mark of its own."""
    place = 2
    while found := _MARKER.search(data, place):
        marker, place = found[1][0], found.end()
        if marker == 0xD9:
            return True
        if marker not in _BARE and place + 2 <= len(data):
            place += struct.unpack_from('>H', data, place)[0]
    return False


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, begin and end of each whole chunk, up to the last one."""
    place = 8
    while place + 12 <= len(data):
        length, kind = struct.unpack_from('>I4s', data, place)
        end = place + 12 + length
        if end > len(data):
            return
        yield kind, place, end
        if kind == b'IEND':
            return
        place = end
