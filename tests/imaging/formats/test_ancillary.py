"""Which parts of a file are left out. `tests/inputs/test_uploads.py` decodes such files."""

import pytest

from service.imaging.formats import ancillary
from tests.odd_images import chunk, png, with_chunk, with_exif, written


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_nothing_is_left_out_of_a_file_of_pixels_alone(kind: str) -> None:
    assert ancillary.without(kind, written(kind)) is None


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "AVIF", "HEIC"])
def test_the_other_formats_are_left_as_they_are(kind: str) -> None:
    assert ancillary.without(kind, b"anything") is None


def test_a_comment_is_left_out_and_a_transparent_colour_is_kept() -> None:
    kept = with_chunk(written("PNG"), b"tRNS", bytes(6))
    assert ancillary.without("PNG", with_chunk(kept, b"tEXt", b"a\0b")) == (kept, ())


def test_each_warning_is_given_once() -> None:
    data = with_exif(with_exif(written("JPEG"), b"a"), b"b")
    found = ancillary.without("JPEG", data)
    assert found is not None
    assert found[1] == ("exif_ignored",)


def test_a_file_of_too_many_parts_is_left_as_it_is() -> None:
    assert ancillary.without("PNG", png(9, 9, *[chunk(b"tEXt")] * ancillary.MAX_PARTS)) is None
    assert ancillary.without("JPEG", b"\xff\xd8" + b"\xff\xfe\0\2" * (ancillary.MAX_PARTS + 1)) is None
    assert ancillary.without("WEBP", written("WEBP") + b"XMP \0\0\0\0" * ancillary.MAX_PARTS) is None


@pytest.mark.parametrize("kind", ancillary.REMOVERS)
def test_a_file_that_is_cut_anywhere_raises_nothing(kind: str) -> None:
    data = written(kind)
    for end in range(len(data)):
        ancillary.without(kind, data[:end])
