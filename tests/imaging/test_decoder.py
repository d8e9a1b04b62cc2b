"""Undamaged uploads: format, limits, orientation, reduced scale, frames and metadata."""

import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from service.errors import ImageTooLarge, ImageTooSmall, ServiceError, UnsupportedMediaType
from service.imaging import decoder
from service.imaging.decoder import (
    FIRST_FRAME_ONLY,
    FORMATS,
    DecodedImage,
    ImageLimits,
    accepted_formats,
    decode,
    sniff,
)
from service.imaging.formats.ancillary import EXIF_IGNORED
from tests.odd_images import LOSSY, Pixels, encode, tiff, upright, upright_image, with_chunk, with_exif, written

ORIENTATION = 0x0112


def read(data: bytes, needed: int | None = None) -> DecodedImage:
    return decode(data, ImageLimits(), needed=needed)


def assert_shows(found: DecodedImage, pixels: Pixels, kind: str) -> None:
    assert found.image.size == (pixels.shape[1], pixels.shape[0])
    assert np.abs(np.asarray(found.image).astype(int) - pixels).max() <= LOSSY.get(kind, 0)


# Formats ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FORMATS)
def test_every_accepted_format_is_known_by_its_first_bytes_and_decoded(kind: str) -> None:
    data = written(kind)
    assert sniff(data) == kind
    found = read(data)
    assert (found.format, found.width, found.height, found.image.mode, found.warnings) == (kind, 32, 24, "RGB", ())
    assert_shows(found, upright(), kind)


def test_the_formats_are_these() -> None:
    assert list(FORMATS) == ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\xff\xd8", id="half of a JPEG's magic bytes"),
        pytest.param(b"<svg xmlns='http://www.w3.org/2000/svg'/>", id="SVG"),
        pytest.param(b"%PDF-1.7", id="PDF"),
        pytest.param(b"%!PS-Adobe-3.0 EPSF-3.0", id="EPS"),
        pytest.param(b"RIFF\0\0\0\0WAVEfmt ", id="WAV"),
        pytest.param(b"\0\0\0\x18ftypisom\0\0\0\0isommp42", id="MP4"),
        pytest.param(encode(upright_image(), "PPM"), id="PPM"),
        pytest.param(encode(upright_image(), "ICO"), id="ICO"),
        pytest.param(encode(upright_image(), "TGA"), id="TGA"),
        pytest.param(encode(upright_image(), "JPEG2000"), id="JPEG 2000"),
    ],
)
def test_anything_else_is_refused_with_the_list_of_what_is_accepted(data: bytes) -> None:
    assert sniff(data) is None
    with pytest.raises(UnsupportedMediaType) as caught:
        read(data)
    assert caught.value.members["accepted"] == accepted_formats()


def test_an_avif_may_name_its_brand_among_the_compatible_ones() -> None:
    data = written("AVIF")
    renamed = data.replace(b"ftypavif", b"ftypmif1", 1)
    assert_shows(read(renamed), upright(), "AVIF")
    assert sniff(b"\0\0\0\x10ftypmif1\0\0\0\0avif") is None  # the brand is outside the box


# ImageLimits -----------------------------------------------------------------------------------------------------


LIMITS = ImageLimits(max_pixels=1_000, max_side=50, min_side=10)


@pytest.mark.parametrize("size", [(50, 20), (20, 50), (10, 10), (50, 10), (31, 32)])
def test_a_picture_within_the_limits_is_decoded(size: tuple[int, int]) -> None:
    found = decode(encode(Image.new("RGB", size), "PNG"), LIMITS)
    assert (found.width, found.height) == found.image.size == size


@pytest.mark.parametrize(
    ("size", "error", "limit", "actual"),
    [
        ((51, 10), ImageTooLarge, 50, 51),
        ((10, 51), ImageTooLarge, 50, 51),
        ((32, 32), ImageTooLarge, 1_000, 1_024),
        ((9, 20), ImageTooSmall, 10, 9),
        ((20, 9), ImageTooSmall, 10, 9),
    ],
)
def test_a_picture_beyond_a_limit_is_told_which(
    size: tuple[int, int], error: type[ServiceError], limit: int, actual: int
) -> None:
    with pytest.raises(error) as caught:
        decode(encode(Image.new("RGB", size), "PNG"), LIMITS)
    assert (caught.value.limit, caught.value.actual) == (limit, actual)


def test_a_picture_too_thin_to_see_anything_in_is_too_small() -> None:
    assert read(encode(Image.new("L", (50 * decoder.MAX_ASPECT, 50)), "PNG")).height == 50
    with pytest.raises(ImageTooSmall) as caught:
        read(encode(Image.new("L", (50 * decoder.MAX_ASPECT + 1, 50)), "PNG"))
    assert (caught.value.limit, caught.value.actual) == (51, 50)


# Upright ---------------------------------------------------------------------------------------------------------

# The pixels that a file of each orientation stores for an upright image (EXIF 2.32, section 4.6.4).
STORED: dict[int, Callable[[Pixels], Pixels]] = {
    1: lambda image: image,
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.swapaxes(0, 1),
    6: lambda image: np.rot90(image, 1),
    7: lambda image: image[::-1, ::-1].swapaxes(0, 1),
    8: lambda image: np.rot90(image, -1),
}


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[ORIENTATION] = orientation
    return tags


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", STORED)
def test_every_orientation_is_turned_upright(kind: str, orientation: int) -> None:
    stored = np.ascontiguousarray(STORED[orientation](upright()))
    found = read(written(kind, stored, exif=exif(orientation)))
    assert (found.width, found.height, found.warnings) == (32, 24, ())
    assert_shows(found, upright(), kind)


@pytest.mark.parametrize("orientation", STORED)
def test_a_tiff_is_turned_whether_or_not_it_is_compressed(orientation: int) -> None:
    stored = np.ascontiguousarray(STORED[orientation](upright()))
    height, width, _ = stored.shape
    found = read(tiff(width, height, (8, 8, 8), 2, stored.tobytes(), orientation=orientation))
    assert (found.width, found.height, found.warnings) == (32, 24, ())
    assert_shows(found, upright(), "TIFF")


def test_an_orientation_in_xmp_counts_too() -> None:
    xmp = b'<rdf:Description tiff:Orientation="6"/>'
    found = read(written("WEBP", np.ascontiguousarray(np.rot90(upright())), xmp=xmp))
    assert_shows(found, upright(), "WEBP")


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"not EXIF at all", id="no TIFF header"),
        pytest.param(b"MM\0\x2a\0\0", id="cut in its header"),
        pytest.param(b"MM\0\x2a\0\0\0\x08\xff\xff", id="more tags than it has"),
    ],
)
def test_exif_without_an_orientation_turns_nothing(body: bytes) -> None:
    found = read(with_exif(written("JPEG"), body))
    assert_shows(found, upright(), "JPEG")
    assert found.warnings == ()


@pytest.mark.parametrize("tag", [(3, 9), (3, 0), (2, 0x3600)], ids=["9", "0", "letters"])
def test_an_orientation_that_makes_no_sense_is_ignored_and_told(tag: tuple[int, int]) -> None:
    kind, value = tag
    found = read(
        with_exif(written("JPEG"), b"MM\0\x2a\0\0\0\x08" + struct.pack(">HHHIHH", 1, ORIENTATION, kind, 1, value, 0))
    )
    assert_shows(found, upright(), "JPEG")
    assert found.warnings == (EXIF_IGNORED,)


def test_exif_that_cannot_be_read_is_ignored_and_told() -> None:
    found = read(with_chunk(written("PNG"), b"tEXt", b"Raw profile type exif\0\nexif\n4\nzz"))
    assert_shows(found, upright(), "PNG")
    assert found.warnings == (EXIF_IGNORED,)


# Reduced scale ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("needed", "size"),
    [(None, (640, 480)), (300, (640, 480)), (121, (640, 480)), (120, (320, 240)), (60, (160, 120)), (1, (80, 60))],
)
def test_a_large_jpeg_is_decoded_at_reduced_scale(needed: int | None, size: tuple[int, int]) -> None:
    found = read(encode(Image.new("RGB", (640, 480), (200, 30, 30)), "JPEG"), needed)
    assert found.image.size == size
    assert (found.width, found.height) == (640, 480)


@settings(deadline=None, max_examples=40)
@given(st.integers(8, 700), st.integers(8, 700), st.integers(1, 400), st.sampled_from(sorted(STORED)))
def test_a_reduced_jpeg_keeps_twice_what_is_needed(width: int, height: int, needed: int, orientation: int) -> None:
    found = read(encode(Image.new("L", (width, height)), "JPEG", exif=exif(orientation)), needed)
    assert min(found.image.size) >= min(2 * needed, width, height)
    assert {found.width, found.height} == {width, height}
    assert (found.width > found.height) == (found.image.width > found.image.height) or abs(width - height) < 8


@pytest.mark.parametrize("kind", sorted(set(FORMATS) - {"JPEG"}))
def test_other_formats_keep_every_pixel(kind: str) -> None:
    assert_shows(read(written(kind), 1), upright(), kind)


# Frames and metadata ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "TIFF", "AVIF"])
def test_of_many_frames_the_first_is_taken_and_that_is_told(kind: str) -> None:
    second = Image.new("RGB", (32, 24), "blue")
    found = read(written(kind, save_all=True, append_images=[second, second]))
    assert_shows(found, upright(), kind)
    assert found.warnings == (FIRST_FRAME_ONLY,)


def test_the_pictures_behind_a_jpeg_are_no_frames() -> None:
    found = read(encode(upright_image(), "MPO", save_all=True, append_images=[Image.new("RGB", (32, 24), "blue")]))
    assert (found.format, found.width, found.warnings) == ("JPEG", 32, ())


def test_a_damaged_second_frame_does_not_spoil_the_first() -> None:
    data = written("GIF", save_all=True, append_images=[Image.new("RGB", (32, 24), "blue")])
    second = data.rindex(b",\0\0")
    assert_shows(read(data[: second + 4]), upright(), "GIF")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_nothing_of_the_uploads_metadata_is_left_on_the_picture(kind: str) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    found = read(written(kind, icc_profile=srgb, exif=exif(1)))
    assert found.image.info == {}
    again = encode(found.image, "PNG")
    assert b"iCCP" not in again
    assert b"eXIf" not in again


def test_pictures_are_decoded_in_any_number_of_threads() -> None:
    uploads = [written(kind) for kind in FORMATS] * 8
    sequential = [np.asarray(read(data).image) for data in uploads]
    with ThreadPoolExecutor(8) as pool:
        parallel = list(pool.map(lambda data: np.asarray(read(data).image), uploads))
    for one, other in zip(sequential, parallel, strict=True):
        np.testing.assert_array_equal(one, other)
