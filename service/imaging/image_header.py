"""Reads the number of pixels that an image declares from the bytes of its header, without a decoder and without a copy.

The decode queue uses it before anything is decoded. The decoder's own limits catch a header that declares too little.
"""

import re
import struct
from collections.abc import Callable
from typing import Final, Literal

# A JPEG's frame header, or any other segment to be skipped (ITU-T T.81, table B.1).
SEGMENT: Final = re.compile(rb"\xff([\xc0-\xcf\xd9-\xfe])")
FRAME_MARKERS: Final = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
MAX_STEPS: Final = 1000  # segments or tags, one microsecond each
WIDTH, HEIGHT = 256, 257  # TIFF tags
LENGTHS: Final = {3: 2, 4: 4, 16: 8}  # bytes of the TIFF types SHORT, LONG and LONG8


def pixels(kind: str, data: bytes) -> int | None:
    """Return the pixels that the header of a `kind` (from `decoder.sniff`) declares; None if it declares none."""
    try:
        found = READERS[kind](data)
    except (KeyError, IndexError, struct.error):
        return None
    return abs(found[0] * found[1]) or None if found else None


def tiff_tags(data: bytes) -> dict[int, int]:
    """Return the numbers in the first directory, by tag. Of a tag with several numbers it is the first.

    Of a tag without numbers it is an offset. In a BigTIFF (version 43) offsets and counts have 8 bytes.
    """
    order: Literal["little", "big"] = "little" if data[:2] == b"II" else "big"
    start, end, count, entry, value = (8, 16, 8, 20, 12) if 43 in data[2:4] else (4, 8, 2, 12, 8)
    at = int.from_bytes(data[start:end], order)
    tags = {}
    for index in range(min(int.from_bytes(data[at : at + count], order), MAX_STEPS)):
        tag = data[at + count + index * entry : at + count + (index + 1) * entry]
        if len(tag) < entry:
            break
        kind, numbers = int.from_bytes(tag[2:4], order), int.from_bytes(tag[4:value], order)
        length, found = LENGTHS.get(kind, 4), tag[value:]
        if kind in LENGTHS and numbers * length > len(found):
            offset = int.from_bytes(found, order)
            found = data[offset : offset + length]
        tags[int.from_bytes(tag[:2], order)] = int.from_bytes(found[:length], order)
    return tags


def _jpeg(data: bytes) -> tuple[int, int] | None:
    at = 2
    for _ in range(MAX_STEPS):
        marker = SEGMENT.search(data, at)
        if marker is None:
            return None
        if marker[1][0] in FRAME_MARKERS:
            height, width = struct.unpack_from(">HH", data, marker.end() + 3)
            return width, height
        at = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")
    return None


def _bmp(data: bytes) -> tuple[int, int]:
    (header,) = struct.unpack_from("<I", data, 14)
    width, height = struct.unpack_from("<HH" if header == 12 else "<ii", data, 18)
    return width, height


def _webp(data: bytes) -> tuple[int, int] | None:
    """Read one of the three kinds of first chunk (RFC 9649)."""
    kind = data[12:16]
    if kind == b"VP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if kind == b"VP8L":
        (packed,) = struct.unpack_from("<I", data, 21)
        return (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", data, 26)
    return (width & 0x3FFF, height & 0x3FFF) if kind == b"VP8 " else None


def _tiff(data: bytes) -> tuple[int, int] | None:
    sides = tiff_tags(data)
    return (sides[WIDTH], sides[HEIGHT]) if {WIDTH, HEIGHT} <= sides.keys() else None


def _iso(data: bytes) -> tuple[int, int] | None:
    """Read the largest `ispe` property (ISO/IEC 23008-12, section 6.5.3); thumbnails and tiles have their own."""
    found: list[tuple[int, int]] = []
    at = data.find(b"ispe")
    while at >= 0 and len(found) < MAX_STEPS:
        found.append(struct.unpack_from(">II", data, at + 8))
        at = data.find(b"ispe", at + 4)
    return max(found, key=lambda size: size[0] * size[1], default=None)


READERS: Final[dict[str, Callable[[bytes], tuple[int, int] | None]]] = {
    "JPEG": _jpeg,
    "PNG": lambda data: struct.unpack_from(">II", data, 16),
    "WEBP": _webp,
    "GIF": lambda data: struct.unpack_from("<HH", data, 6),
    "BMP": _bmp,
    "TIFF": _tiff,
    "AVIF": _iso,
    "HEIC": _iso,
}
