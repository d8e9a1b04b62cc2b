"""Files of few bytes and few pixels that would still cost a decoder minutes or gigabytes.

The measurements are of Pillow 13 on one core, of files made for the purpose.
"""

import io
import re
from typing import Final, Literal

from PIL import ImageFile

from service.errors import ImageCorrupt, ImageTooCostly, ImageTooLarge

# 75 bytes are a scan over all of a progressive picture: 18 ms for 49 megapixels, so 20 MB of them 80 minutes. libtiff
# draws the same line for the JPEG in a TIFF; encoders write ten or so.
MAX_SCANS: Final = 100

# Of a large picture fewer: a scan takes 0.35 ms for each megapixel, so this many scanned pixels 0.4 s.
MAX_SCANNED_PIXELS: Final = 1_000_000_000
FEWEST_SCANS: Final = 16  # are allowed whatever the pixels

# Flat pictures take next to no bytes and as much time as others: 7 to 19 ms for each megapixel, measured of PNG, WebP,
# GIF, TIFF and AVIF by `benchmarks.costs.amplification`. A JPEG is decoded at a reduced scale and takes a
# millisecond. Scans of documents have one bit a pixel, are often flat, large, and cheap.
THRIFTY_KINDS: Final = {"JPEG"}
THRIFTY_MODES: Final = {"1"}

# Between and before the scans; a 20 MB photo's metadata is in 64 kB segments, some 300 of them.
MAX_SEGMENTS: Final = 5_000

# A plugin walks a file's chunks in Python, with several reads for each: this many take 0.2 s. The 20 MB that hold the
# most chunks of the least size would hold the interpreter's lock for 7 s. A 20 MB PNG in chunks of 4 kB takes 30,000.
MAX_READS: Final = 300_000

# libtiff writes a line of 130 bytes to the standard error stream for each tag that it cannot use, out of our reach, and
# reads up to 4,096. Cameras and scanners write thirty.
MAX_TAGS: Final = 256

# Any marker that begins a segment or ends the picture: not stuffing (00), restarts (d0-d7) and the start (d8).
SEGMENT: Final = re.compile(rb"\xff([\xc0-\xcf\xd9-\xfe])")
START_OF_SCAN, END_OF_IMAGE = b"\xda", b"\xd9"

TILE_WIDTH, TILE_LENGTH = 322, 323


class BoundedReader(io.BytesIO):
    """A file in memory that raises `OSError` at the read after `MAX_READS`."""

    reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        """As of `io.BytesIO`."""
        self.reads += 1
        if self.reads > MAX_READS:
            raise OSError("the file is cut in too many pieces")
        return super().read(size)


def check_scans(data: bytes, pixels: int = 1) -> None:
    """Count the scans and segments of a JPEG of so many pixels. Raises `ImageCorrupt` for more than anyone needs."""
    most = min(MAX_SCANS, max(FEWEST_SCANS, MAX_SCANNED_PIXELS // pixels))
    scans = segments = at = 0
    while (marker := SEGMENT.search(data, at)) and marker[1] != END_OF_IMAGE:
        scans += marker[1] == START_OF_SCAN
        segments += 1
        if scans > most:
            raise ImageCorrupt(f"The JPEG data has more than {most} scans.", limit=most)
        if segments > MAX_SEGMENTS:
            raise ImageCorrupt(f"The JPEG data has more than {MAX_SEGMENTS} segments.", limit=MAX_SEGMENTS)
        at = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")


def check_tags(data: bytes) -> None:
    """Count the tags of a TIFF's first picture. Raises `ImageCorrupt` for more than anyone needs."""
    order: Literal["little", "big"] = "little" if data[:2] == b"II" else "big"
    # The directory's place, and its count of tags: in a BigTIFF (version 43) both are of 8 bytes.
    start, end, size = (8, 16, 8) if 43 in data[2:4] else (4, 8, 2)
    at = int.from_bytes(data[start:end], order)
    tags = int.from_bytes(data[at : at + size], order)
    if tags > MAX_TAGS:
        raise ImageCorrupt(f"The TIFF data has {tags} tags, {MAX_TAGS} are allowed.", limit=MAX_TAGS, actual=tags)


def check_worth(opened: ImageFile.ImageFile, kind: str, pixels: int, most: int) -> None:
    """Hold the pixels to be decoded against what the file's bytes are worth. Raises `ImageTooCostly`."""
    if pixels > most and kind not in THRIFTY_KINDS and opened.mode not in THRIFTY_MODES:
        raise ImageTooCostly(
            f"The picture has {pixels} pixels; for its few bytes {most} are allowed.", limit=most, actual=pixels
        )


def check_tiles(opened: ImageFile.ImageFile, max_pixels: int) -> int:
    """The pixels of a TIFF's tile, which is decoded whole; of others 1. Raises `ImageTooLarge` beyond the pixel limit.

    A side that is no number raises what `int` does.
    1.5 MB that declare 16 x 16 pixels in one tile of 40,000 x 40,000 took 1.6 GB and 7 s.
    """
    tags = getattr(opened, "tag_v2", {})
    pixels = int(tags.get(TILE_WIDTH, 1)) * int(tags.get(TILE_LENGTH, 1))
    if pixels > max_pixels:
        raise ImageTooLarge(
            f"A tile of the picture has {pixels} pixels, {max_pixels} are allowed.", limit=max_pixels, actual=pixels
        )
    return pixels
