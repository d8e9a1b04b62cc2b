"""Images whose coded data ends early but in good order: the rows that decoders fill are never answered."""

import io
import struct
import zlib
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from PIL import Image

from service.errors import ImageCorrupt
from service.imaging.decoder import DecodedImage, ImageLimits, decode
from service.imaging.formats.missing_rows import CHANNELS, PASSES
from tests.odd_images import chunk, encode, png, with_chunk

WIDTH, HEIGHT = 37, 29  # no multiples of eight, so that the passes of an interlaced image differ in size
# Colour type and depth of each kind of PNG (third edition, table 11.1).
KINDS = [
    (0, 1),
    (0, 2),
    (0, 4),
    (0, 8),
    (0, 16),
    (2, 8),
    (2, 16),
    (3, 1),
    (3, 4),
    (3, 8),
    (4, 8),
    (4, 16),
    (6, 8),
    (6, 16),
]
ENDS_EARLY = "ends before its last line"


def read(data: bytes) -> DecodedImage:
    return decode(data, ImageLimits())


def rows(colour: int, depth: int, value: int, *, interlaced: bool) -> Iterator[bytes]:
    """Yield the rows of an image of one value, each with its filter."""
    for left, top, right, down in PASSES if interlaced else [(0, 0, 1, 1)]:
        columns = len(range(left, WIDTH, right))
        for _ in range(top, HEIGHT, down):
            yield b"\0" + bytes([value]) * -(-columns * CHANNELS[colour] * depth // 8)


def drawn(colour: int, depth: int, value: int, *, interlaced: bool = False, lacking: int = 0, level: int = 6) -> bytes:
    """Return a PNG without its last `lacking` rows."""
    found = list(rows(colour, depth, value, interlaced=interlaced))
    palette = [chunk(b"PLTE", bytes(768)[: 3 << depth])] if colour == 3 else []
    pixels = chunk(b"IDAT", zlib.compress(b"".join(found[: len(found) - lacking]), level))
    made = png(WIDTH, HEIGHT, *palette, pixels, depth=depth, colour=colour)
    head = made[12:28] + bytes([interlaced])
    return made[:12] + head + struct.pack(">I", zlib.crc32(head)) + made[33:]


@pytest.mark.parametrize("interlaced", [False, True], ids=["in order", "interlaced"])
@pytest.mark.parametrize(("colour", "depth"), KINDS)
@pytest.mark.parametrize("value", [0, 255])
def test_a_png_needs_its_last_row_and_no_more(colour: int, depth: int, value: int, *, interlaced: bool) -> None:
    assert read(drawn(colour, depth, value, interlaced=interlaced)).image.size == (WIDTH, HEIGHT)
    for lacking in (1, 9):
        with pytest.raises(ImageCorrupt, match=ENDS_EARLY):
            read(drawn(colour, depth, value, interlaced=interlaced, lacking=lacking))


@pytest.mark.parametrize("level", [0, 9])
def test_a_large_png_is_counted_in_pieces(level: int) -> None:
    pixels = b"".join(b"\0" + bytes(3 * 2000) for _ in range(1500))
    packed = zlib.compress(pixels, level)
    thirds = [packed[start : start + len(packed) // 3 + 1] for start in range(0, len(packed), len(packed) // 3 + 1)]
    assert read(png(2000, 1500, *(chunk(b"IDAT", each) for each in thirds))).width == 2000
    with pytest.raises(ImageCorrupt, match=ENDS_EARLY):
        read(png(2000, 1500, chunk(b"IDAT", zlib.compress(pixels[:-6001], level))))


def test_streams_of_careless_encoders_that_have_all_rows_are_read() -> None:
    """As in reports: without a whole checksum, without a last block (Ghostscript), with bytes behind the last row."""
    pixels = b"".join(rows(2, 8, 0, interlaced=False))
    packed, flushed = zlib.compress(pixels), zlib.compressobj()
    streams = [
        packed[:-2],
        flushed.compress(pixels) + flushed.flush(zlib.Z_SYNC_FLUSH),
        zlib.compress(pixels + b"more"),
    ]
    for stream in streams:
        assert read(png(WIDTH, HEIGHT, chunk(b"IDAT", stream))).image.getextrema() == ((0, 0),) * 3
    assert read(png(WIDTH, HEIGHT, chunk(b"IDAT"), chunk(b"IDAT", packed), chunk(b"IDAT"))).height == HEIGHT


def test_a_comment_does_not_hide_that_rows_are_missing() -> None:
    with pytest.raises(ImageCorrupt, match=ENDS_EARLY):
        read(with_chunk(drawn(2, 8, 0, lacking=5), b"zTXt", b"workflow\0\0" + zlib.compress(bytes(3_000_000))))


def noise(height: int = 96) -> Image.Image:
    return Image.fromarray(np.random.default_rng(3).integers(0, 256, (height, 80, 3), np.uint8))


def shortened(tiff: bytes, part: float) -> bytes:
    """Return the TIFF with a smaller number of bytes for its last strip."""
    tags = Image.open(io.BytesIO(tiff)).tag_v2  # type: ignore[attr-defined]
    *others, last = tags[279]
    old, new = (struct.pack(f"<{1 + len(others)}I", *others, size) for size in (last, int(last * part)))
    if not others:  # the number is in the directory itself
        old, new = (struct.pack("<HHI", 279, 4, 1) + each for each in (old, new))
    assert tiff.count(old) == 1
    return tiff.replace(old, new)


def with_tag(data: bytes, tag: int, value: int) -> bytes:
    """Return a little-endian TIFF with another value of a tag that has one number."""
    directory = int.from_bytes(data[4:8], "little")
    at = data.index(struct.pack("<H", tag), directory)
    return data[: at + 8] + struct.pack("<I", value) + data[at + 12 :]


@pytest.mark.parametrize("kind", ["raw", "tiff_lzw", "jpeg", "tiff_adobe_deflate", "packbits"])
@pytest.mark.parametrize("strip", [4000, 10**6], ids=["strips", "one strip"])
def test_a_tiff_needs_strips_for_all_its_rows(kind: str, strip: int) -> None:
    options = {"quality": 95} if kind == "jpeg" else {}
    whole = encode(noise(), "TIFF", compression=kind, strip_size=strip, **options)
    assert read(whole).height == 96
    taller = with_tag(whole, 257, 192)
    for data in (taller, with_tag(taller, 278, 192), with_tag(whole, 273, 0)):
        with pytest.raises(ImageCorrupt):
            read(data)


def test_a_strip_of_jpeg_that_is_narrower_than_the_image_is_refused() -> None:
    with pytest.raises(ImageCorrupt, match="lacks lines"):
        read(with_tag(encode(noise(), "TIFF", compression="jpeg", quality=95), 256, 160))


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("height", [96, 800])
def test_a_strip_of_jpeg_in_a_tiff_needs_all_its_lines(mode: str, height: int) -> None:
    whole = encode(noise(height).convert(mode), "TIFF", compression="jpeg", quality=95, strip_size=16_384)
    assert read(whole).warnings == ()
    for part in (0.3, 0.9):
        with pytest.raises(ImageCorrupt, match=ENDS_EARLY):
            read(shortened(whole, part))


def test_a_strip_of_jpeg_that_lacks_only_its_end_marker_is_read() -> None:
    whole = encode(noise(), "TIFF", compression="jpeg", quality=95)
    (size,) = Image.open(io.BytesIO(whole)).tag_v2[279]  # type: ignore[attr-defined]
    assert read(shortened(whole, (size - 2) / size)).image == read(whole).image


# For `tests.inputs.table`.
SHORT: dict[str, Callable[[], bytes]] = {
    "a PNG whose stream ends early in good order": lambda: drawn(2, 8, 9, lacking=9),
    "an interlaced PNG whose stream ends early": lambda: drawn(2, 8, 9, interlaced=True, lacking=9),
    "a TIFF without strips for its lower half": lambda: with_tag(encode(noise(), "TIFF", compression="raw"), 257, 192),
    "a TIFF with half a strip of JPEG": lambda: shortened(encode(noise(), "TIFF", compression="jpeg", quality=95), 0.5),
}


@pytest.mark.parametrize("kind", ["tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_other_strips_that_end_early_are_refused_by_the_decoder(kind: str) -> None:
    with pytest.raises(ImageCorrupt):
        read(shortened(encode(noise(), "TIFF", compression=kind), 0.5))
