"""What the scans of a JPEG code. The corrupt and the coarse files are made from whole ones by cutting."""

import io
import struct
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from service.errors import ImageCorrupt
from service.imaging.decoder import DecodedImage, ImageLimits, decode
from service.imaging.formats import jpeg_scans
from tests.odd_images import encode, written

END = b"\xff\xd9"
SCAN = b"\xff\xda"


def read(data: bytes) -> DecodedImage:
    return decode(data, ImageLimits())


def photo(mode: str = "RGB") -> Image.Image:
    noise = np.random.default_rng(3).integers(0, 256, (30, 45, 3), np.uint8)
    return Image.fromarray(noise).resize((360, 240)).convert(mode)


def parts(data: bytes) -> Iterator[bytes]:
    """Yield the file up to each scan but the first, with an end marker."""
    at = data.index(SCAN)
    while (at := data.find(SCAN, at + 2)) >= 0:
        yield data[:at] + END


def apart(mode: str = "RGB") -> bytes:
    """Return a sequential JPEG whose colours have a scan each, joined from three grey JPEGs."""
    bands = [encode(band, "JPEG", quality=90) for band in photo(mode).convert("YCbCr").split()]
    head, _, _ = bands[0].partition(SCAN)
    frame = head.index(b"\xff\xc0")
    colours = b"".join(bytes([number, 0x11, 0]) for number in (1, 2, 3))
    header = b"\xff\xc0" + struct.pack(">HBHHB", 17, 8, 240, 360, 3) + colours
    scans = b""
    for number, band in enumerate(bands, 1):
        coded = band.partition(SCAN)[2][8:].removesuffix(END)
        scans += SCAN + struct.pack(">HBBBBBB", 8, 1, number, 0, 0, 63, 0) + coded
    return head[:frame] + header + head[frame + 13 :] + scans + END


def test_the_usual_jpeg_is_known_to_be_whole_from_its_first_scan() -> None:
    data = written("JPEG")
    assert jpeg_scans.of(data[: data.index(SCAN) + 20]).all_coded


@pytest.mark.parametrize("numbers", [b"\0\0\0", b"\1\x3f\0", b"\0\x3f\x21"], ids=["0-0", "1-63", "a refinement"])
def test_the_numbers_that_some_cameras_write_into_a_sequential_scan_count_for_nothing(numbers: bytes) -> None:
    data = written("JPEG")
    at = data.index(SCAN) + 4 + 1 + 2 * 3
    changed = data[:at] + numbers + data[at + 3 :]
    assert (read(changed).warnings, read(changed).image) == ((), read(data).image)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_progressive_jpeg_is_whole_with_its_last_scan_and_coarse_without(mode: str) -> None:
    whole = encode(photo(mode), "JPEG", progressive=True)
    assert read(whole).warnings == ()
    cut = list(parts(whole))
    assert len(cut) > 3
    for each in cut:
        assert read(each).warnings == ("scans_missing",)


def test_the_pixels_of_coarse_scans_are_those_of_the_image_blurred() -> None:
    whole = encode(photo(), "JPEG", progressive=True)
    exact = np.asarray(read(whole).image).astype(int)
    errors = [np.abs(np.asarray(read(each).image) - exact).mean() for each in parts(whole)]
    assert errors[0] > errors[-1] > 0


def test_colours_in_scans_of_their_own_are_read() -> None:
    found = read(apart())
    assert found.warnings == ()
    assert np.abs(np.asarray(found.image).astype(int) - np.asarray(photo())).mean() < 6


def test_a_jpeg_that_lacks_the_scan_of_a_colour_is_corrupt() -> None:
    for each in parts(apart()):
        with pytest.raises(ImageCorrupt, match="scans of all its colours"):
            read(each)


@pytest.mark.parametrize("part", [0.3, 0.6, 0.9, 0.99])
def test_a_jpeg_that_is_cut_in_the_scan_of_its_last_colour_is_corrupt(part: float) -> None:
    whole = apart()
    last = whole.rindex(SCAN)
    with pytest.raises(ImageCorrupt, match="ends before its last line"):
        read(whole[: last + 10 + int((len(whole) - last - 12) * part)] + END)


def test_a_cut_in_the_last_refinement_changes_the_pixels_by_little() -> None:
    whole = encode(photo(), "JPEG", progressive=True, quality=85)
    last = whole.rindex(SCAN)
    cut = whole[: last + (len(whole) - last) // 2] + END
    difference = np.asarray(read(cut).image).astype(int) - np.asarray(read(whole).image)
    assert np.abs(difference).mean() < 1


def test_a_scan_without_a_frame_codes_nothing() -> None:
    data = written("JPEG")
    frame = data.index(b"\xff\xc0")
    assert not jpeg_scans.of(data[:frame] + data[frame + 19 :]).all_coded


def test_headers_that_are_cut_off_are_no_scans() -> None:
    data = encode(photo(), "JPEG", progressive=True)
    for end in range(2, data.index(SCAN) + 10):
        try:
            assert not jpeg_scans.of(data[:end]).all_coded
        except (IndexError, ValueError):
            continue
    assert Image.open(io.BytesIO(data)).size == (360, 240)
