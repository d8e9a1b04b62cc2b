"""Colour spaces that a file names by numbers."""

import struct

import pytest

from service.imaging.decoder import ImageLimits, decode
from service.imaging.formats import code_points
from tests.odd_images import with_chunk, written

SRGB, BT709, P3, PQ, HLG, LINEAR = (1, 13), (1, 1), (12, 13), (9, 16), (9, 18), (1, 8)
BT601, UNNAMED = (6, 6), (2, 2)


def png(codes: tuple[int, int]) -> bytes:
    return with_chunk(written("PNG"), b"cICP", bytes([*codes, 0, 1]))


def avif(codes: tuple[int, int]) -> bytes:
    """Return an AVIF whose colour box names that space. libavif writes one with sRGB's."""
    data = written("AVIF")
    at = data.index(code_points.ISO_CODES) + len(code_points.ISO_CODES)
    return data[:at] + struct.pack(">HH", *codes) + data[at + 4 :]


@pytest.mark.parametrize("made", [png, avif])
@pytest.mark.parametrize("codes", [P3, PQ, HLG, LINEAR], ids=["P3", "PQ", "HLG", "linear"])
def test_a_space_that_is_not_converted_is_told(made: type, codes: tuple[int, int]) -> None:
    assert decode(made(codes), ImageLimits()).warnings == ("colour_space_ignored",)


@pytest.mark.parametrize("made", [png, avif])
@pytest.mark.parametrize("codes", [SRGB, BT709, BT601, UNNAMED], ids=["sRGB", "BT.709", "BT.601", "unnamed"])
def test_spaces_that_are_or_resemble_srgb_have_no_warning(made: type, codes: tuple[int, int]) -> None:
    assert decode(made(codes), ImageLimits()).warnings == ()


def test_other_formats_and_files_without_codes_have_none() -> None:
    assert [code_points.warnings(kind, written(kind)) for kind in ("JPEG", "PNG", "AVIF", "GIF")] == [()] * 4
    assert code_points.warnings("AVIF", code_points.ISO_CODES) == ()
