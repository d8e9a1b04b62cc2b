"""Finds out whether a PNG or a TIFF has all its rows. The decoders fill the others and do not say so.

Pillow leaves rows black that a PNG's stream or a TIFF's strips do not have. libtiff takes libjpeg's grey for the rest
of a strip with a JPEG.
"""

import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from PIL import Image, ImageFile

from service.errors import ImageCorrupt
from service.imaging import image_header
from service.imaging.decompression_bombs import TILE_LENGTH, TILE_WIDTH
from service.imaging.formats import ancillary, jpeg_end
from service.imaging.formats.jpeg_end import Load
from service.imaging.image_header import HEIGHT, WIDTH

ENDS_EARLY: Final = "The PNG data ends before its last line."

# The bits of a pixel are the channels of its colour type times the depth (PNG, third edition, table 8).
CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
# Left, top, and the steps to the right and down of the seven passes of an interlaced image (section 8.1).
PASSES: Final = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
ZLIB_HEADER: Final = 2
PIECE_BYTES: Final = 1 << 16  # of the stream, unpacked at a time
UNPACKED_BYTES: Final = 1 << 20

# TIFF tags.
COMPRESSION, SAMPLES, PLANES, JPEG_TABLES = 259, 277, 284, 347
STRIP_OFFSETS, ROWS_PER_STRIP, STRIP_SIZES, TILE_OFFSETS, TILE_SIZES = 273, 278, 279, 324, 325
NEW_JPEG, SEPARATE = 7, 2  # their values: JPEG in a TIFF, and planes of one colour each
PART_MISSING: Final = "A strip or tile of the TIFF is missing, or lacks lines."
JPEG_START: Final = b"\xff\xd8"


def check(kind: str, image: ImageFile.ImageFile, data: bytes, load: Load) -> None:
    """Raise `ImageCorrupt` if the loaded `image` lacks rows of the file `data`. `load` decodes a JPEG.

    A PNG is unpacked once more only if its last pixel has the value of the fill, or if it is interlaced.
    """
    if kind in CHECKS:
        CHECKS[kind](image, data, load)


def _png(image: ImageFile.ImageFile, data: bytes, _load: Load) -> None:
    width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    depth, colour_type, interlaced = data[24], data[25], data[28]
    if not interlaced and _is_coloured(image):
        return
    passes = PASSES if interlaced else ((0, 0, 1, 1),)
    needed = sum(
        rows * (1 + -(-columns * CHANNELS[colour_type] * depth // 8))  # each row begins with the byte of its filter
        for left, top, right, down in passes
        if (columns := len(range(left, width, right))) and (rows := len(range(top, height, down)))
    )
    if not _unpacks_to(data, needed):
        raise ImageCorrupt(ENDS_EARLY)


def _is_coloured(image: Image.Image) -> bool:
    """Return whether the last pixel differs from the fill, which is zero in each channel."""
    pixel = image.getpixel((image.width - 1, image.height - 1))
    return any(pixel) if isinstance(pixel, tuple) else bool(pixel)


def _unpacks_to(data: bytes, needed: int) -> bool:
    """Return whether the stream of pixels has so many bytes. Its checksum is left to the decoder."""
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    found, header = 0, ZLIB_HEADER
    for piece in _pieces(data):
        rest, header = piece[header:], max(header - len(piece), 0)
        while rest and found < needed and not unpacker.eof:
            found += len(unpacker.decompress(rest, UNPACKED_BYTES))
            rest = unpacker.unconsumed_tail
    return found >= needed


def _pieces(data: bytes) -> Iterator[bytes]:
    for name, chunk in ancillary.png_chunks(data):
        if name == b"IDAT":
            body = chunk[8:-4]
            yield from (body[start : start + PIECE_BYTES] for start in range(0, len(body), PIECE_BYTES))


def _tiff(image: ImageFile.ImageFile, data: bytes, load: Load) -> None:
    """Check that no strip or tile is missing, and that each one with a JPEG has all its lines."""
    tags: Mapping[int, Any] = getattr(image, "tag_v2", {})
    grid = _tiles(tags) if TILE_OFFSETS in tags else _strips(tags)
    starts, sizes = tags.get(grid.offsets, ()), tags.get(grid.sizes, ())
    planes = tags.get(SAMPLES, 1) if tags.get(PLANES, 1) == SEPARATE else 1
    needed = planes * len(grid.pixels)
    if len(starts) < needed or not all(starts[:needed]):
        raise ImageCorrupt(PART_MISSING)
    if tags.get(COMPRESSION) == NEW_JPEG:
        shared = bytes(tags.get(JPEG_TABLES, b"")).removesuffix(jpeg_end.END) or JPEG_START
        for start, size, pixels in zip(starts, sizes, grid.pixels * planes, strict=False):
            part = data[start : start + size]
            if planes == 1 and (image_header.pixels("JPEG", part) or 0) < pixels:
                raise ImageCorrupt(PART_MISSING)
            if jpeg_end.find(part) is None:
                jpeg_end.completed(shared + part.removeprefix(JPEG_START), load)


class _Grid(NamedTuple):
    """The strips or tiles of a TIFF: the tags of their offsets and sizes in bytes, and the pixels of each."""

    offsets: int
    sizes: int
    pixels: list[int]


def _strips(tags: Mapping[int, Any]) -> _Grid:
    """Return the strips. The last one may have fewer rows than the others."""
    width, height = tags[WIDTH], tags[HEIGHT]
    rows = min(tags.get(ROWS_PER_STRIP) or height, height)
    return _Grid(STRIP_OFFSETS, STRIP_SIZES, [width * min(rows, height - top) for top in range(0, height, rows)])


def _tiles(tags: Mapping[int, Any]) -> _Grid:
    """Return the tiles, all of one size."""
    width, height = int(tags[TILE_WIDTH]), int(tags[TILE_LENGTH])
    count = -(-tags[WIDTH] // width) * -(-tags[HEIGHT] // height)
    return _Grid(TILE_OFFSETS, TILE_SIZES, [width * height] * count)


CHECKS: Final[dict[str, Callable[[ImageFile.ImageFile, bytes, Load], None]]] = {"PNG": _png, "TIFF": _tiff}
