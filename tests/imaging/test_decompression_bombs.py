"""Small files that would cost a decoder minutes or gigabytes. Each is made here and is rejected at once."""

import re
import struct
import zlib

import pytest
from PIL import Image

from service.errors import ImageCorrupt, ImageTooCostly, ImageTooLarge
from service.imaging import decompression_bombs
from service.imaging.decoder import DecodedImage, ImageLimits, decode
from tests.odd_images import chunk, encode, tiff, with_exif, written


def read(data: bytes) -> DecodedImage:
    return decode(data, ImageLimits())


def progressive(scans: int) -> bytes:
    """Return a grey progressive JPEG with its last scan repeated until it has `scans` scans."""
    data = encode(Image.new("L", (64, 64), 128), "JPEG", progressive=True)
    starts = [found.start() for found in re.finditer(rb"\xff\xda", data)]
    return data[:-2] + data[starts[-1] : -2] * (scans - len(starts)) + b"\xff\xd9"


def test_a_jpeg_may_have_as_many_scans_as_anyone_needs() -> None:
    assert read(progressive(decompression_bombs.MAX_SCANS)).width == 64


def test_a_jpeg_of_endless_scans_is_corrupt() -> None:
    with pytest.raises(ImageCorrupt) as caught:
        read(progressive(decompression_bombs.MAX_SCANS + 1))
    assert caught.value.limit == decompression_bombs.MAX_SCANS


def test_a_large_jpeg_may_have_fewer_scans_and_never_fewer_than_encoders_write() -> None:
    data = progressive(decompression_bombs.MIN_SCANS + 1)
    decompression_bombs.check_scans(data, 10_000_000)
    with pytest.raises(ImageCorrupt) as caught:
        decompression_bombs.check_scans(data, decompression_bombs.MAX_SCANNED_PIXELS)
    assert caught.value.limit == decompression_bombs.MIN_SCANS
    decompression_bombs.check_scans(progressive(decompression_bombs.MIN_SCANS), decompression_bombs.MAX_SCANNED_PIXELS)


FLAT = Image.new("RGB", (60, 40))
FEW_FREE_PIXELS = ImageLimits(free_pixels=1000, pixels_per_byte=2)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "TIFF", "AVIF"])
def test_more_pixels_than_are_free_must_be_worth_their_bytes(kind: str) -> None:
    options = {"compression": "tiff_adobe_deflate"} if kind == "TIFF" else {}
    data = encode(FLAT, kind, **options)
    with pytest.raises(ImageTooCostly) as caught:
        decode(data, FEW_FREE_PIXELS)
    assert (caught.value.limit, caught.value.actual) == (1000 + 2 * len(data), 2400)
    assert decode(data, ImageLimits(free_pixels=2400, pixels_per_byte=1)).width == 60
    assert decode(data, ImageLimits(free_pixels=1000, pixels_per_byte=1400)).width == 60


def test_a_jpeg_and_a_picture_of_one_bit_are_worth_their_pixels_always() -> None:
    limits = ImageLimits(free_pixels=1, pixels_per_byte=1)
    assert decode(encode(FLAT, "JPEG", quality=1), limits).width == 60
    assert decode(encode(FLAT.convert("1"), "TIFF", compression="group4"), limits).width == 60


@pytest.mark.parametrize("size", [(3840, 2160), (5120, 2880)])
def test_an_empty_screenshot_is_no_bomb(size: tuple[int, int]) -> None:
    assert decode(encode(Image.new("RGB", size, "white"), "PNG"), ImageLimits()).width == size[0]


def test_a_tile_counts_as_its_picture() -> None:
    with pytest.raises(ImageTooCostly):
        decode(giant_tile(2048), ImageLimits(free_pixels=1_000_000))


def test_scans_behind_the_end_of_the_picture_do_not_count() -> None:
    assert read(progressive(9) + progressive(decompression_bombs.MAX_SCANS + 1)).width == 64


def test_what_looks_like_a_scan_inside_metadata_does_not_count() -> None:
    assert read(with_exif(written("JPEG"), b"\xff\xda" * 1_000)).width == 32


def test_a_jpeg_of_endless_segments_is_corrupt() -> None:
    data = written("JPEG")
    comments = b"\xff\xfe\0\2" * (decompression_bombs.MAX_SEGMENTS - 100)
    assert read(data[:2] + comments + data[2:]).width == 32
    with pytest.raises(ImageCorrupt) as caught:
        read(data[:2] + comments + b"\xff\xfe\0\2" * 101 + data[2:])
    assert caught.value.limit == decompression_bombs.MAX_SEGMENTS


def test_a_progressive_jpeg_that_ends_in_a_marker_is_counted_to_its_end() -> None:
    decompression_bombs.check_scans(b"\xff\xd8\xff\xda")
    decompression_bombs.check_scans(b"\xff\xd8\xff\xda\0")


def giant_tile(side: int) -> bytes:
    """Return a TIFF of 16 x 16 pixels in one tile of `side` squared zeros, deflated."""
    deflate = zlib.compressobj(9)
    body = b"".join(deflate.compress(bytes(side)) for _ in range(side)) + deflate.flush()
    return tiff(
        16, 16, (8,), 1, body, compression=8, tile_width=side, tile_length=side, tile_offsets=8, tile_bytes=len(body)
    )


def test_a_tiff_of_one_giant_tile_is_too_large() -> None:
    assert read(giant_tile(512)).width == 16
    with pytest.raises(ImageTooLarge) as caught:
        decode(giant_tile(512), ImageLimits(max_pixels=512 * 511))
    assert (caught.value.limit, caught.value.actual) == (512 * 511, 512 * 512)


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_tiff_of_endless_tags_is_corrupt(order: str) -> None:
    data = tiff(16, 16, (8,), 1, bytes(256), order)
    at = struct.unpack_from(order + "I", data, 4)[0]
    (tags,) = struct.unpack_from(order + "H", data, at)
    assert read(data).width == 16
    further = b"".join(
        struct.pack(order + "HHII", 40_000 + tag, 4, 1, 0) for tag in range(decompression_bombs.MAX_TAGS)
    )
    end = at + 2 + 12 * tags
    crowded = (
        data[:at]
        + struct.pack(order + "H", tags + decompression_bombs.MAX_TAGS)
        + data[at + 2 : end]
        + further
        + bytes(4)
    )
    with pytest.raises(ImageCorrupt) as caught:
        read(crowded)
    assert (caught.value.limit, caught.value.actual) == (
        decompression_bombs.MAX_TAGS,
        tags + decompression_bombs.MAX_TAGS,
    )


def test_the_tags_of_a_bigtiff_are_counted_too() -> None:
    header = b"II\x2b\0" + struct.pack("<HHQQ", 8, 0, 16, 0)
    decompression_bombs.check_tags(header[:16] + struct.pack("<Q", decompression_bombs.MAX_TAGS))
    with pytest.raises(ImageCorrupt):
        decompression_bombs.check_tags(header[:16] + struct.pack("<Q", decompression_bombs.MAX_TAGS + 1))


CHUNKS = decompression_bombs.MAX_READS


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(written("PNG")[:33] + chunk(b"abCd") * (CHUNKS // 2) + written("PNG")[33:], id="PNG, by its head"),
        pytest.param(written("PNG")[:-12] + chunk(b"abCd") * (CHUNKS // 2), id="PNG, by its tail"),
        pytest.param(written("JPEG")[:2] + b"\xff" * CHUNKS + written("JPEG")[2:], id="JPEG of fill bytes"),
        pytest.param(b"GIF89a" + bytes(7) + b"!\xfe" + b"\1a" * CHUNKS, id="GIF of one-byte comments"),
    ],
)
def test_a_file_cut_in_too_many_pieces_is_corrupt(data: bytes) -> None:
    with pytest.raises(ImageCorrupt):
        read(data)


def test_a_reader_counts_its_reads() -> None:
    reader = decompression_bombs.BoundedReader(b"abc")
    assert reader.read(1) == b"a"
    assert reader.read() == b"bc"
    reader.reads = decompression_bombs.MAX_READS
    with pytest.raises(OSError, match="too many chunks"):
        reader.read(1)
