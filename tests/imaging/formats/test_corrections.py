"""What Pillow reads wrongly. If Pillow's own pixels are right one day, the correction here is not needed any more."""

import io
import struct
import zlib
from typing import Literal

import numpy as np
import pytest
import tifffile
from PIL import Image

from service.imaging.decoder import DecodedImage, ImageLimits, decode
from tests.odd_images import Pixels, chunk, png, tiff, upright, written

MASKS = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)


def read(data: bytes) -> DecodedImage:
    return decode(data, ImageLimits())


def by_pillow(data: bytes) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGBA").convert("RGB"))


def stripes(depth: int, colour: int, left: bytes, right: bytes, transparent: bytes) -> bytes:
    """Return a PNG of 16 x 16 pixels whose left half has the transparent colour."""
    half = depth if depth < 8 else 8  # bytes of packed pixels, or pixels
    rows = (b"\0" + left * half + right * half) * 16
    pixels = chunk(b"IDAT", zlib.compress(rows))
    return png(16, 16, chunk(b"tRNS", transparent), pixels, depth=depth, colour=colour)


TRANSPARENT: dict[str, tuple[bytes, int]] = {
    "grey of 2 bits": (stripes(2, 0, b"\x55", b"\xaa", b"\0\1"), 170),
    "grey of 4 bits": (stripes(4, 0, b"\x33", b"\xaa", b"\0\3"), 170),
    "grey of 8 bits": (stripes(8, 0, b"\x33", b"\xaa", b"\0\x33"), 170),
    "grey of 16 bits": (stripes(16, 0, b"\x12\x34", b"\xaa\0", b"\x12\x34"), 170),
    "RGB of 8 bits": (stripes(8, 2, b"\1\2\3", b"\xaa\xaa\xaa", b"\0\1\0\2\0\3"), 170),
    "RGB of 16 bits": (stripes(16, 2, b"\1\2\3\4\5\6", b"\xaa\0\xaa\0\xaa\0", b"\1\2\3\4\5\6"), 170),
}


@pytest.mark.parametrize("case", TRANSPARENT)
def test_the_transparent_colour_of_a_png_is_white_in_each_depth(case: str) -> None:
    data, other = TRANSPARENT[case]
    found = read(data)
    pixels = np.asarray(found.image)
    assert (pixels[:, :8] == 255).all(), pixels[0, 0]
    assert (pixels[:, 8:] == other).all(), pixels[0, 15]
    assert "alpha_composited" in found.warnings


def bmp(alpha: int | Pixels) -> bytes:
    """Return `upright` as a BMP of 32 bits a pixel that declares an alpha channel."""
    channel = np.broadcast_to(np.asarray(alpha, np.uint8), (24, 32))
    pixels = np.dstack([upright()[::-1, :, ::-1], channel]).tobytes()
    info = struct.pack("<IiiHHIIiiII", 56, 32, 24, 1, 32, 3, len(pixels), 0, 0, 0, 0) + MASKS
    return b"BM" + struct.pack("<IHHI", 14 + len(info) + len(pixels), 0, 0, 14 + len(info)) + info + pixels


def test_an_alpha_channel_of_a_bmp_that_is_zero_everywhere_is_unused() -> None:
    found = read(bmp(0))
    np.testing.assert_array_equal(np.asarray(found.image), upright())
    assert found.warnings == ()
    assert np.asarray(Image.open(io.BytesIO(bmp(0))).getchannel("A")).max() == 0


@pytest.mark.parametrize("level", [1, 255])
def test_another_alpha_channel_of_a_bmp_is_used(level: int) -> None:
    corner = np.zeros((24, 32), np.uint8)
    corner[0, 0] = level
    found = np.asarray(read(bmp(corner)).image)
    assert (found[:20, 4:] == 255).all()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_separate_planes_of_16_bits_of_a_tiff_are_read(compression: str | None, order: Literal["<", ">"]) -> None:
    planes = np.moveaxis(upright().astype(np.uint16) * 257, 2, 0)
    out = io.BytesIO()
    tifffile.imwrite(out, planes, photometric="rgb", planarconfig="separate", compression=compression, byteorder=order)
    np.testing.assert_array_equal(np.asarray(read(out.getvalue()).image), upright())
    assert compression or not np.array_equal(by_pillow(out.getvalue()), upright())


def test_other_tiffs_keep_pillows_own_reader() -> None:
    np.testing.assert_array_equal(np.asarray(read(tiff(32, 24, (8, 8, 8), 2, upright().tobytes())).image), upright())
    np.testing.assert_array_equal(np.asarray(read(written("TIFF")).image), upright())
