"""Rejects files of few bytes and few pixels that would still cost a decoder minutes or gigabytes.

All measurements are of Pillow 13 on one core, with files made for the purpose.
"""

import io
import re
from typing import Final, Literal

from PIL import ImageFile

from service.errors import ImageCorrupt, ImageTooCostly, ImageTooLarge

# One scan over a whole progressive JPEG needs 75 bytes. It takes 18 ms for 49 megapixels, so 20 MB of scans take 80
# minutes. libtiff has the same limit for the JPEG in a TIFF. Encoders write about ten scans.
MAX_SCANS: Final = 100

# Large images may have fewer scans. A scan takes 0.35 ms for each megapixel, so this many scanned pixels take 0.4 s.
MAX_SCANNED_PIXELS: Final = 1_000_000_000
MIN_SCANS: Final = 16  # always allowed, whatever the number of pixels

# Images of one colour have almost no bytes, but take as much time as others: 7 to 19 ms for each megapixel, measured
# for PNG, WebP, GIF, TIFF and AVIF by `benchmarks.costs.amplification`. A JPEG is decoded at a reduced scale and takes
# one millisecond. Scanned documents have one bit a pixel. They are often empty and large, and take little time.
CHEAP_FORMATS: Final = {"JPEG"}
CHEAP_MODES: Final = {"1"}

# Between and before the scans. The metadata of a 20 MB photo is in about 300 segments of 64 kB.
MAX_SEGMENTS: Final = 5_000

# A plugin reads a file's chunks in Python, with several reads for each chunk. This many reads take 0.2 s. A 20 MB file
# of the smallest possible chunks would hold the interpreter's lock for 7 s. A 20 MB PNG in chunks of 4 kB needs 30,000.
MAX_READS: Final = 300_000

# For each tag that it cannot use, libtiff writes a line of 130 bytes to the standard error stream, which Python cannot
# suppress. It reads up to 4,096 tags. Cameras and scanners write about thirty.
MAX_TAGS: Final = 256

# Any marker that begins a segment or ends the image: not stuffing (00), restarts (d0-d7) and the start (d8).
SEGMENT: Final = re.compile(rb"\xff([\xc0-\xcf\xd9-\xfe])")
START_OF_SCAN, END_OF_IMAGE = b"\xda", b"\xd9"

TILE_WIDTH, TILE_LENGTH = 322, 323


class BoundedReader(io.BytesIO):
    """A file in memory that raises `OSError` at the read after `MAX_READS`."""

    reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        """Read as `io.BytesIO` does."""
        self.reads += 1
        if self.reads > MAX_READS:
            raise OSError("the file has too many chunks")
        return super().read(size)


def check_scans(data: bytes, pixels: int = 1) -> None:
    """Count the scans and segments of a JPEG of `pixels` pixels. Raises `ImageCorrupt` if there are too many."""
    max_scans = min(MAX_SCANS, max(MIN_SCANS, MAX_SCANNED_PIXELS // pixels))
    scans = segments = at = 0
    while (marker := SEGMENT.search(data, at)) and marker[1] != END_OF_IMAGE:
        scans += marker[1] == START_OF_SCAN
        segments += 1
        if scans > max_scans:
            raise ImageCorrupt(f"The JPEG data has more than {max_scans} scans.", limit=max_scans)
        if segments > MAX_SEGMENTS:
            raise ImageCorrupt(f"The JPEG data has more than {MAX_SEGMENTS} segments.", limit=MAX_SEGMENTS)
        at = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")


def check_tags(data: bytes) -> None:
    """Count the tags of a TIFF's first image. Raises `ImageCorrupt` if there are too many."""
    order: Literal["little", "big"] = "little" if data[:2] == b"II" else "big"
    # The directory's offset and its number of tags: in a BigTIFF (version 43) both have 8 bytes.
    start, end, size = (8, 16, 8) if 43 in data[2:4] else (4, 8, 2)
    at = int.from_bytes(data[start:end], order)
    tags = int.from_bytes(data[at : at + size], order)
    if tags > MAX_TAGS:
        detail = f"The TIFF data has {tags} tags; at most {MAX_TAGS} are allowed."
        raise ImageCorrupt(detail, limit=MAX_TAGS, actual=tags)


def check_pixels_per_byte(opened: ImageFile.ImageFile, kind: str, pixels: int, max_pixels: int) -> None:
    """Compare the pixels to decode with `max_pixels` for a file of its length. Raises `ImageTooCostly`."""
    if pixels > max_pixels and kind not in CHEAP_FORMATS and opened.mode not in CHEAP_MODES:
        detail = f"The image has {pixels} pixels; a file of its length may have at most {max_pixels}."
        raise ImageTooCostly(detail, limit=max_pixels, actual=pixels)


def check_tiles(opened: ImageFile.ImageFile, max_pixels: int) -> int:
    """Return the pixels of a TIFF's tile, which is decoded as a whole; 1 for other formats.

    Raises `ImageTooLarge` above the pixel limit, and what `int` raises for a side that is not a number. A file of
    1.5 MB that declared 16 x 16 pixels in one tile of 40,000 x 40,000 took 1.6 GB and 7 s.
    """
    tags = getattr(opened, "tag_v2", {})
    pixels = int(tags.get(TILE_WIDTH, 1)) * int(tags.get(TILE_LENGTH, 1))
    if pixels > max_pixels:
        raise ImageTooLarge(
            f"A tile of the image has {pixels} pixels; at most {max_pixels} are allowed.",
            limit=max_pixels,
            actual=pixels,
        )
    return pixels
