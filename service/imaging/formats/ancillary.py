"""Leaves out the parts of a file that its pixels do not need, so that a damaged or huge comment spoils no image.

The decoder calls this only for a file that it could not read as a whole. A file costs nothing more if it can be read.
"""

import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Final

from service.imaging.colour import MAX_PROFILE_BYTES, PROFILE_IGNORED

EXIF_IGNORED = "exif_ignored"

MAX_PARTS: Final = 20_000  # chunks or segments, one microsecond each; 20 MB of PNG in chunks of 4 kB have 5,000

PNG_MAGIC: Final = b"\x89PNG\r\n\x1a\n"
# Those that say how to show the pixels; text, times and physical sizes do not (PNG, third edition, section 11.3).
PNG_KEPT: Final = {b"tRNS", b"iCCP", b"eXIf", b"acTL", b"fcTL", b"fdAT"}
PNG_WARNINGS: Final = {b"iCCP": PROFILE_IGNORED, b"eXIf": EXIF_IGNORED}

# The chunks of a WebP file that are kept, and the flags of its VP8X chunk for those that are not (RFC 9649).
WEBP_KEPT: Final = {b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF"}
WEBP_WARNINGS: Final = {b"ICCP": PROFILE_IGNORED, b"EXIF": EXIF_IGNORED}
WEBP_METADATA_FLAGS: Final = 0x20 | 0x08 | 0x04  # ICC profile, EXIF, XMP

START_OF_SCAN: Final = 0xDA
APP0, APP1, APP2, APP14, APP15, COMMENT = 0xE0, 0xE1, 0xE2, 0xEE, 0xEF, 0xFE
JFIF_LENGTH: Final = 16  # of its segment without a thumbnail (JFIF 1.02)

Warnings = tuple[str, ...]
Found = tuple[bytes, Warnings]


class TooManyPartsError(Exception):
    """The file has more than `MAX_PARTS` parts."""


def without(kind: str, data: bytes) -> Found | None:
    """Return the file without those parts, and a warning for each that would have changed the pixels.

    Return None if there is nothing to leave out, or if there are too many parts. `kind` is one of `decoder.sniff`.
    """
    remove = REMOVERS.get(kind)
    if remove is None:
        return None
    try:
        kept, warnings = remove(data)
    except TooManyPartsError:
        return None
    return None if kept == data else (kept, tuple(dict.fromkeys(warnings)))


def _png(data: bytes) -> Found:
    kept, warnings = [PNG_MAGIC], []
    for name, chunk in png_chunks(data):
        if not name[0] & 0x20 or (name in PNG_KEPT and _is_sound(name, chunk)):  # bit 5 says ancillary (section 5.4)
            kept.append(chunk)
        elif name in PNG_WARNINGS:
            warnings.append(PNG_WARNINGS[name])
    return b"".join(kept), tuple(warnings)


def png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the name and the bytes of each chunk up to IEND; the last one may be cut off."""
    at = len(PNG_MAGIC)
    for _ in range(MAX_PARTS):
        name = data[at + 4 : at + 8]
        if len(name) < 4:
            return
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        yield name, data[at:end]
        if name == b"IEND":
            return
        at = end
    raise TooManyPartsError


def _is_sound(name: bytes, chunk: bytes) -> bool:
    """Return whether a decoder can use this chunk. A transparent colour is kept as it is, because it changes pixels."""
    if name == b"tRNS":
        return True
    if zlib.crc32(chunk[4:-4]) != int.from_bytes(chunk[-4:], "big"):
        return False
    return name != b"iCCP" or _profile_fits(chunk[8:-4])


def _profile_fits(body: bytes) -> bool:
    """Return whether the profile unpacks, to no more bytes than are used."""
    start = body.find(b"\0") + 2
    unpacker = zlib.decompressobj()
    try:
        unpacker.decompress(body[start:], MAX_PROFILE_BYTES)
    except zlib.error:
        return False
    return unpacker.eof


def _webp(data: bytes) -> Found:
    kept, warnings, at = [], [], 12
    for _ in range(MAX_PARTS):
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if len(data) < at + 8:
            break
        chunk = data[at : at + 8 + size + size % 2]
        if name == b"VP8X" and size:
            chunk = chunk[:8] + bytes([chunk[8] & ~WEBP_METADATA_FLAGS]) + chunk[9:]
        if name in WEBP_KEPT:
            kept.append(chunk)
        elif name in WEBP_WARNINGS:
            warnings.append(WEBP_WARNINGS[name])
        at += 8 + size + size % 2
    else:
        raise TooManyPartsError
    body = b"WEBP" + b"".join(kept)
    return b"RIFF" + struct.pack("<I", len(body)) + body, tuple(warnings)


def _jpeg(data: bytes) -> Found:
    kept, warnings, at = [data[:2]], [], 2
    for _ in range(MAX_PARTS):
        marker, end = data[at + 1 : at + 2], at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at : at + 1] != b"\xff" or not marker or marker[0] == START_OF_SCAN or end > len(data):
            break
        segment = data[at:end]
        if not (APP0 <= marker[0] <= APP15 or marker[0] == COMMENT) or _changes_colours(marker[0], segment):
            kept.append(segment)
        elif marker[0] == APP1 and segment[4:8] == b"Exif":
            warnings.append(EXIF_IGNORED)
        elif marker[0] == APP2 and segment[4:15] == b"ICC_PROFILE":
            warnings.append(PROFILE_IGNORED)
        at = end
    else:
        raise TooManyPartsError
    return b"".join([*kept, data[at:]]), tuple(warnings)


def _changes_colours(marker: int, segment: bytes) -> bool:
    """Return whether the segment tells a decoder whether the pixels are RGB, YCbCr or inverted CMYK."""
    if marker == APP0:
        return segment[4:9] == b"JFIF\0" and len(segment) >= JFIF_LENGTH + 2
    return marker == APP14 and segment[4:9] == b"Adobe"


REMOVERS: Final[dict[str, Callable[[bytes], Found]]] = {"PNG": _png, "WEBP": _webp, "JPEG": _jpeg}
