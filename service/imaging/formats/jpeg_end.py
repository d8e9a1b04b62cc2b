"""Finds out whether a JPEG has all its scan lines. libjpeg does not say so: it fills what is missing with grey.

A complete JPEG has the same pixels whatever bytes come after its last coded block. So a doubtful file is decoded again
with other bytes there. Doubtful are a file without its end marker, and one whose last pixel has the fill's brightness.
"""

from collections.abc import Callable
from typing import Final, cast

from PIL import Image

from service.errors import ImageCorrupt
from service.imaging.decompression_bombs import SEGMENT
from service.imaging.formats import jpeg_scans

END_MISSING = "end_marker_missing"
ENDS_EARLY = "The JPEG data ends before its last line."
COLOURS_MISSING = "The JPEG data ends before the scans of all its colours."

END: Final = b"\xff\xd9"
# Coded bits that mean other blocks than the fill, which is all zeros. There is no 0xFF, which would begin a marker.
FOREIGN: Final = b"\xa5\x5a\x33\xcc" * 32
ZEROS_KEPT: Final = 1  # of those behind the data. One may belong to the last block.
FILL: Final = 128  # libjpeg's fill in a channel of 8 bits: the middle, in each colour space
TOLERANCE: Final = 1  # levels that rounding of the conversion from YCbCr changes

Load = Callable[[bytes], Image.Image]


def find(data: bytes) -> int | None:
    """Return the offset of the end marker; None without one. That of a thumbnail inside a segment is skipped."""
    at = 2
    while marker := SEGMENT.search(data, at):
        if marker[1] == END[1:]:
            return marker.start()
        at = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")
    return None


def check(data: bytes, image: Image.Image, load: Load) -> tuple[str, ...]:
    """Raise `ImageCorrupt` if `image`, which `load` made from `data`, lacks its last lines or a colour.

    Return a warning if a progressive JPEG lacks its last scans, which makes it coarser. About one in a hundred photos
    is decoded twice, and each JPEG whose colours are in scans of their own.
    """
    scans = jpeg_scans.of(data)
    if not scans.means_coded:
        raise ImageCorrupt(COLOURS_MISSING)
    if scans.last_is_pixels or _may_be_filled(image):
        end = find(data)
        if end is not None and not _is_complete(data, end, image, load):
            raise ImageCorrupt(ENDS_EARLY)
    return () if scans.all_coded else (jpeg_scans.SCANS_MISSING,)


def completed(data: bytes, load: Load) -> bytes:
    """Return a JPEG without an end marker with one in place of the zeros behind it.

    Raises `ImageCorrupt` if scan lines are missing, and `MemoryError`.
    """
    try:
        if jpeg_scans.of(data).all_coded and (found := _with_end(data, load)):
            return found
    except MemoryError:
        raise
    except Exception:  # as in decoder._open
        raise ImageCorrupt(ENDS_EARLY) from None
    raise ImageCorrupt(ENDS_EARLY)


def _with_end(data: bytes, load: Load) -> bytes | None:
    zeros = len(data) - len(data.rstrip(b"\0"))
    for kept in range(min(zeros, ZEROS_KEPT) + 1):
        coded = data[: len(data) - zeros + kept]
        if coded.endswith(b"\xff"):  # a coded 0xFF is written as FF 00
            coded += b"\0"
        if _is_complete(coded + END, len(coded), load(coded + END), load):
            return coded + END
    return None


def _may_be_filled(image: Image.Image) -> bool:
    """Return whether the last pixel is as bright as libjpeg's fill."""
    pixel = image.getpixel((image.width - 1, image.height - 1))
    levels = cast("tuple[int, ...]", pixel if isinstance(pixel, tuple) else (pixel,))
    if image.mode == "RGB":
        red, green, blue = levels
        levels = (round(0.299 * red + 0.587 * green + 0.114 * blue),)  # ITU-R BT.601, as JFIF
    return all(abs(level - FILL) <= TOLERANCE for level in levels)


def _is_complete(data: bytes, end: int, image: Image.Image, load: Load) -> bool:
    """Return whether the image has the same pixels with other bytes before its end marker."""
    return load(data[:end] + FOREIGN + data[end:]).tobytes() == image.tobytes()
