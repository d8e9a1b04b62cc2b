"""Pixels by the header alone."""

import io
import random

import pytest
from PIL import Image

from service import declared, images

SIZE = (1201, 303)


def written(kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", SIZE, (90, 200, 30)).save(out, kind, **options)
    return out.getvalue()


FILES = {
    "JPEG": written("JPEG"),
    "JPEG, progressive, with metadata": written("JPEG", progressive=True, comment=b"\xff\xc0" * 99),
    "PNG": written("PNG"),
    "WEBP": written("WEBP"),
    "WEBP, lossless": written("WEBP", lossless=True),
    "WEBP, extended": written("WEBP", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0"),
    "GIF": written("GIF"),
    "BMP": written("BMP"),
    "TIFF": written("TIFF"),
    "TIFF, big": written("TIFF", big_tiff=True),
    "AVIF": written("AVIF"),
}


@pytest.mark.parametrize("name", FILES)
def test_the_pixels_are_those_that_the_picture_has(name: str) -> None:
    kind = name.partition(",")[0]

    assert images.sniff(FILES[name]) == kind
    assert declared.pixels(kind, FILES[name]) == SIZE[0] * SIZE[1]


def test_every_format_that_is_read_can_be_asked() -> None:
    assert declared.READERS.keys() == {*images.FORMATS, "HEIC"}


@pytest.mark.parametrize("name", FILES)
def test_a_header_that_is_cut_or_overwritten_has_some_pixels_or_none(name: str) -> None:
    chance = random.Random(name)
    kind = name.partition(",")[0]
    for _ in range(300):
        data = bytearray(FILES[name][: chance.randrange(4, 400)])
        for _ in range(3):
            data[chance.randrange(len(data))] = chance.choice((0, 0xFF, chance.randrange(256)))
        found = declared.pixels(kind, bytes(data))
        assert found is None or found >= 0


def test_a_jpeg_of_segments_alone_is_given_up() -> None:
    assert declared.pixels("JPEG", b"\xff\xd8" + b"\xff\xe1\0\2" * 1_000_000) is None
