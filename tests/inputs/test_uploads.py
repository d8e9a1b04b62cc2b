"""Uploads as people really send them. What the pixels do not need never decides; what is not read is named."""

import io
import random
import struct
import zlib
from functools import cache

import numpy as np
import pytest
from PIL import Image

from service.errors import ImageCorrupt, ImageKindUnsupported, UnsupportedMediaType
from service.imaging.decoder import DecodedImage, ImageLimits, decode
from tests.odd_images import chunk, encode, png, tiff, upright, with_chunk, with_exif, written

MEGABYTES = bytes(3_000_000)
END = b"\xff\xd9"


def read(data: bytes, needed: int | None = None) -> DecodedImage:
    return decode(data, ImageLimits(), needed=needed)


@cache
def photo(**options: int) -> bytes:
    """Return a JPEG without flat areas, so that any missing block changes its pixels."""
    noise = np.random.default_rng(3).integers(0, 256, (60, 90, 3), np.uint8)
    return encode(Image.fromarray(noise).resize((720, 480)), "JPEG", **options)


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", 2 + len(body)) + body


def after_start(jpeg: bytes, more: bytes) -> bytes:
    return jpeg[:2] + more + jpeg[2:]


def damaged(data: bytes, name: bytes, body: bytes) -> bytes:
    """Return the PNG with one more chunk, whose checksum is wrong."""
    wrong = chunk(name, body)[:-4] + b"\0\0\0\0"
    return data[:33] + wrong + data[33:]


PNG, JPEG, WEBP = written("PNG"), written("JPEG"), written("WEBP")
TEXT = b"workflow\0\0" + zlib.compress(MEGABYTES)

# What surrounds the pixels: the file, and the warnings that it deserves.
HARMLESS: dict[str, tuple[bytes, tuple[str, ...]]] = {
    "PNG, a profile of 3 MB": (
        with_chunk(PNG, b"iCCP", b"scan\0\0" + zlib.compress(MEGABYTES)), ("icc_profile_ignored",)),
    "PNG, a profile that does not unpack": (with_chunk(PNG, b"iCCP", b"scan\0\0rubbish"), ("icc_profile_ignored",)),
    "PNG, a profile with a wrong checksum": (damaged(PNG, b"iCCP", b"a\0\0"), ("icc_profile_ignored",)),
    "PNG, compressed text of 3 MB": (with_chunk(PNG, b"zTXt", TEXT), ()),
    "PNG, international text of 3 MB": (with_chunk(PNG, b"iTXt", b"XMP\0\1\0\0\0" + zlib.compress(MEGABYTES)), ()),
    "PNG, compressed text behind the pixels": (PNG[:-12] + chunk(b"zTXt", TEXT) + PNG[-12:], ()),
    "PNG, text with a wrong checksum": (damaged(PNG, b"tEXt", b"Comment\0hello"), ()),
    "PNG, a gamma without a number": (with_chunk(PNG, b"gAMA", b""), ()),
    "PNG, a physical size cut off": (with_chunk(PNG, b"pHYs", b"\0"), ()),
    "PNG, EXIF with a wrong checksum": (damaged(PNG, b"eXIf", b"MM\0*"), ("exif_ignored",)),
    "PNG, without its end": (PNG[:-12], ()),
    "PNG, a ZIP archive behind it": (PNG + b"PK\3\4" + bytes(999), ()),
    "WebP, cut in its XMP": (written("WEBP", xmp=b"x" * 1000)[:-500], ()),
    "WebP, cut in its EXIF": (written("WEBP", exif=b"Exif\0\0" + b"x" * 1000)[:-500], ("exif_ignored",)),
    "WebP, a trailer": (WEBP + bytes(4096), ()),
    "JPEG, a JFIF segment cut short": (b"\xff\xd8" + segment(0xE0, b"JFIF\0") + JPEG[20:], ()),
    "JPEG, a profile in the wrong number of pieces": (
        after_start(JPEG, segment(0xE2, b"ICC_PROFILE\0\1\2" + bytes(99))), ("icc_profile_ignored",)),
    "JPEG, EXIF of rubbish": (with_exif(JPEG, b"MM\0*\xff\xff\xff\xff"), ()),
    "JPEG, a Photoshop segment of rubbish": (after_start(JPEG, segment(0xED, b"Photoshop 3.0\x008BIM\4\4")), ()),
    "JPEG, a video behind it": (JPEG + b"\0\0\0\x18ftypmp42" + bytes(4096), ()),
    "GIF, a comment behind the pixels": (written("GIF")[:-1] + b"!\xfe\5hello\0;", ()),
    "TIFF, a description outside the file": (
        tiff(32, 24, (8, 8, 8), 2, upright().tobytes(), colours=[2**31] * 3), ()),
}  # fmt: skip


@pytest.mark.parametrize("case", HARMLESS)
def test_what_the_pixels_do_not_need_never_decides(case: str) -> None:
    data, warnings = HARMLESS[case]
    found = read(data)
    assert found.warnings == warnings
    tolerance = 8 if case.startswith("JPEG") else 2
    assert np.abs(np.asarray(found.image).astype(int) - upright()).max() <= tolerance or case.startswith("GIF")


def test_a_good_profile_and_the_orientation_are_used_beside_a_bad_comment() -> None:
    turned = written("PNG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\3\0\0\0\0\0\0")
    assert read(with_chunk(turned, b"zTXt", TEXT)).image == read(turned).image
    assert read(turned).image != read(PNG).image


@pytest.mark.parametrize("needed", [None, 64])
@pytest.mark.parametrize("options", [{}, {"progressive": 1}, {"quality": 100}, {"restart_marker_blocks": 9}], ids=str)
@pytest.mark.parametrize("trailer", [b"", bytes(1), bytes(4096)], ids=["nothing", "a zero", "4096 zeros"])
def test_a_jpeg_with_all_its_lines_needs_no_end_marker(
    trailer: bytes, options: dict[str, int], needed: int | None
) -> None:
    whole = photo(**options)
    found = read(whole.removesuffix(END) + trailer, needed)
    assert found.warnings == ("end_marker_missing",)
    assert found.image == read(whole, needed).image


@pytest.mark.parametrize("options", [{}, {"progressive": 1}, {"quality": 100}], ids=str)
@pytest.mark.parametrize("trailer", [b"", bytes(4096), bytes(400_000)], ids=["nothing", "4 kB of zeros", "400 kB"])
@pytest.mark.parametrize("part", [0.2, 0.5, 0.9, 0.99])
def test_a_jpeg_that_lacks_lines_is_corrupt_whatever_follows(
    part: float, trailer: bytes, options: dict[str, int]
) -> None:
    whole = photo(**options)
    with pytest.raises(ImageCorrupt, match="ends before its last line"):
        read(whole[: int(part * len(whole))] + trailer)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("part", [0.5, 0.9, 0.99])
def test_an_end_marker_behind_half_a_jpeg_does_not_make_it_whole(part: float, mode: str) -> None:
    whole = encode(Image.open(io.BytesIO(photo())).convert(mode), "JPEG")
    with pytest.raises(ImageCorrupt, match="ends before its last line"):
        read(whole[: int(part * len(whole))] + END)


def test_a_jpeg_that_ends_in_the_grey_of_the_fill_is_whole() -> None:
    grey = Image.open(io.BytesIO(photo())).copy()
    grey.paste((128, 128, 128), (0, 100, *grey.size))
    assert read(encode(grey, "JPEG")).warnings == ()


def frame(marker: int, bits: int = 8, height: int = 24, colours: int = 3) -> bytes:
    body = struct.pack(">BHHB", bits, height, 32, colours) + bytes(range(3 * colours))
    return (
        b"\xff\xd8"
        + segment(0xC0, body).replace(b"\xff\xc0", bytes([0xFF, marker]))
        + b"\xff\xda\0\x08\1\1\0\0\x3f\0"
        + END
    )


def bmp(compression: int, bits: int = 24) -> bytes:
    data = bytearray(written("BMP"))
    struct.pack_into("<HI", data, 28, bits, compression)
    return bytes(data)


KINDS: dict[str, tuple[bytes, str]] = {
    "lossless JPEG": (frame(0xC3), "JPEG is not read: lossless"),
    "hierarchical JPEG": (frame(0xC5), "JPEG is not read: hierarchical"),
    "JPEG-LS": (frame(0xF7), "JPEG is not read: JPEG-LS"),
    "JPEG of 12 bits": (frame(0xC1, bits=12), "JPEG is not read: with 12 bits"),
    "JPEG with two colours": (frame(0xC0, colours=2), "JPEG is not read: with 2 colours"),
    "JPEG with DNL": (frame(0xC0, height=0), "JPEG is not read: with its height after the pixels"),
    "PNG of an iPhone app": (
        png(32, 24, chunk(b"IDAT", zlib.compress(bytes(2400), wbits=-15))).replace(
            b"\r\n\x1a\n", b"\r\n\x1a\n" + chunk(b"CgBI", bytes(4)), 1), "PNG is not read: for Apple's devices"),
    "JPEG with three samples for two": (
        photo(subsampling=0).replace(b"\1\x11\0\2\x11\1", b"\1\x31\0\2\x21\1"),
        "JPEG is not read: with fractional sampling"),
    "BMP with a JPEG in it": (bmp(4), "BMP is not read: a JPEG"),
    "BMP of two bits (Windows CE)": (bmp(0, bits=2), "BMP is not read: with 2 bits a pixel"),
    "BMP of 16 bits with alpha": (bmp(3, bits=16), "BMP is not read: with unusual bit masks"),
    "TIFF of floating-point RGB": (
        tiff(16, 16, (32, 32, 32), 2, bytes(3072), sample_format=(3, 3, 3)), "TIFF is not read: with floating-point"),
    "TIFF of 64 bits": (tiff(16, 16, (64,), 1, bytes(2048)), "TIFF is not read: with 64 bits a sample"),
    "TIFF of complex values (radar)": (
        tiff(16, 16, (64,), 1, bytes(2048), sample_format=6), "TIFF is not read: with complex values"),
    "TIFF of signed bytes": (tiff(16, 16, (8,), 1, bytes(256), sample_format=2), "signed values of 8 bits"),
    "TIFF with JPEG 2000": (tiff(16, 16, (8,), 1, bytes(256), compression=34712), "TIFF is not read: with compression"),
}  # fmt: skip


@pytest.mark.parametrize("case", KINDS)
def test_a_kind_that_is_not_read_is_named_and_not_called_damaged(case: str) -> None:
    data, words = KINDS[case]
    with pytest.raises(ImageKindUnsupported, match=words):
        read(data)


def thumbnail(extra: int = 0) -> bytes:
    return tiff(160, 120, (8, 8, 8), 2, bytes(160 * 120 * 3), extra=extra)


def tagged(tag: int, value: int) -> bytes:
    """Return a thumbnail with one more tag, in place of the directory's `extra` one."""
    return thumbnail(extra=value).replace(struct.pack("<HHI", 338, 4, 1), struct.pack("<HHI", tag, 4, 1))


RAW: dict[str, bytes] = {
    "DNG": tagged(50706, 0x0401),
    "a thumbnail before the full image": tagged(254, 1),
    "a sensor's values": thumbnail().replace(
        struct.pack("<HHII", 262, 4, 1, 2), struct.pack("<HHII", 262, 4, 1, 32803)
    ),
    "CR2": thumbnail()[:8] + b"CR" + thumbnail()[10:],
}


@pytest.mark.parametrize("case", RAW)
def test_a_cameras_raw_file_is_refused_and_its_thumbnail_not_answered(case: str) -> None:
    with pytest.raises(ImageKindUnsupported, match="camera's raw file"):
        read(RAW[case])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"FUJIFILMCCD-RAW 0201", "a camera's raw file: export it as a JPEG"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1", "a camera's raw file"),
        (b"%PDF-1.7\n", "a PDF"),
        (b"\n <svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"<!doctype html><html>404", "an HTML page"),
        (b"/9j/4AAQSkZJRgABAQ", "a JPEG in base64"),
        (b"\0\0\0\x18ftypmp42", "a video"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
        (b"\xef\xbb\xbf" + JPEG, "an image with 3 other bytes before it"),
        (b"\r\n" + PNG, "an image with 2 other bytes before it"),
        (b'--B\r\nContent-Disposition: form-data; name="file"\r\n\r\n' + JPEG, "a form"),
        (b"--B\r\nContent-Type: image/png\r\ncontent-disposition: form-data\r\n\r\n" + PNG, "a form"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + JPEG, "an HTTP response with its head"),
        (PNG.decode("latin-1").encode(), "a PNG that was encoded as UTF-8"),
        (PNG.decode("utf-8", "replace").encode(), "a PNG that was decoded as UTF-8"),
        (JPEG.decode("latin-1").encode(), "a JPEG that was encoded as UTF-8"),
        (JPEG.decode("utf-8", "replace").encode(), "a file that was decoded as UTF-8"),
        (PNG.replace(b"\r\n", b"\n"), "a PNG whose line ends were changed"),
        (PNG.replace(b"\n", b"\r\n"), "a PNG whose line ends were changed"),
        (b'{"images": []}', "JSON: send it with Content-Type: application/json"),
        (b"\x93NUMPY\x01\0", "a NumPy array"),
        (b"RIFF\0\0\0\0AVI LIST", "a video"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1jpeg", "HEIF with another codec"),
    ],
)
def test_a_file_of_another_format_is_named_with_the_way_out(data: bytes, words: str) -> None:
    with pytest.raises(UnsupportedMediaType, match=f"They are {words}"):
        read(data)


def test_random_trailers_and_chunks_never_change_the_pixels() -> None:
    source = random.Random(5)
    for _ in range(60):
        name = bytes(source.choice(b"abcdefghijklmnopqrstuvwxyz") for _ in range(4))
        data = damaged(PNG, name, source.randbytes(source.randrange(50))) + source.randbytes(source.randrange(50))
        assert read(data).image.tobytes() == upright().tobytes()
