"""EXIF's orientation as cameras and programs write it."""

import io
import struct

import pytest
from PIL import Image, JpegImagePlugin

from service.imaging.decoder import ImageLimits, decode
from service.imaging.formats import orientation
from tests.odd_images import with_exif, written


def exif(kind: int, value: bytes, count: int = 1) -> bytes:
    """Return EXIF data whose only entry is the orientation, of that TIFF type."""
    return b"MM\0*\0\0\0\x08\0\1" + struct.pack(">HHI", orientation.ORIENTATION, kind, count) + value + bytes(4)


SIDEWAYS = exif(3, b"\0\6\0\0")
# A directory without entries, and the thumbnail's behind it.
THUMBNAIL_ALONE = b"MM\0*\0\0\0\x08\0\0" + struct.pack(">I", 14) + SIDEWAYS[8:]


@pytest.mark.parametrize(
    ("body", "turned", "warnings"),
    [
        (SIDEWAYS, True, ()),
        (exif(4, b"\0\0\0\6"), True, ()),
        (exif(3, b"\0\6\0\1", count=2), True, ()),
        (exif(3, b"\0\1\0\0"), False, ()),
        (THUMBNAIL_ALONE, False, ()),
        (exif(3, bytes(4)), False, ("exif_ignored",)),
        (exif(3, b"\0\x09\0\0"), False, ("exif_ignored",)),
        (exif(2, b"6\0\0\0", count=2), False, ("exif_ignored",)),
    ],
    ids=["short", "long", "two numbers", "upright", "of the thumbnail", "zero", "nine", "text"],
)
def test_only_a_number_from_1_to_8_for_the_image_itself_turns_it(
    body: bytes, *, turned: bool, warnings: tuple[str, ...]
) -> None:
    found = decode(with_exif(written("JPEG"), body), ImageLimits())
    assert ((found.width, found.height), found.warnings) == ((24, 32) if turned else (32, 24), warnings)


def test_the_first_of_two_exif_segments_counts() -> None:
    twice = with_exif(with_exif(written("JPEG"), exif(3, b"\0\1\0\0")), SIDEWAYS)
    assert decode(twice, ImageLimits()).width == 24


def test_the_way_to_turn_it_swaps_the_sides_or_not() -> None:
    found = {each: Image.new("L", (2, 1)).transpose(each).size for each in orientation.UPRIGHT.values()}
    assert {each for each, size in found.items() if size == (1, 2)} == orientation.SIDES_SWAPPED
    opened = JpegImagePlugin.JpegImageFile
    assert orientation.of(opened(io.BytesIO(with_exif(written("JPEG"), SIDEWAYS)))) == (orientation.UPRIGHT[6], ())
