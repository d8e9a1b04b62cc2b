"""The number of pixels, read from the header alone."""

import io
import random
import struct

import pytest
from PIL import Image

from service.imaging import decoder, image_header

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

    assert decoder.sniff(FILES[name]) == kind
    assert image_header.pixels(kind, FILES[name]) == SIZE[0] * SIZE[1]


def test_every_format_that_is_read_can_be_asked() -> None:
    assert image_header.READERS.keys() == {*decoder.FORMATS, "HEIC"}


@pytest.mark.parametrize("name", FILES)
def test_a_header_that_is_cut_or_overwritten_has_some_pixels_or_none(name: str) -> None:
    chance = random.Random(name)
    kind = name.partition(",")[0]
    for _ in range(300):
        data = bytearray(FILES[name][: chance.randrange(4, 400)])
        for _ in range(3):
            data[chance.randrange(len(data))] = chance.choice((0, 0xFF, chance.randrange(256)))
        found = image_header.pixels(kind, bytes(data))
        assert found is None or found >= 0


def test_a_jpeg_of_segments_alone_is_given_up() -> None:
    assert image_header.pixels("JPEG", b"\xff\xd8" + b"\xff\xe1\0\2" * 1_000_000) is None


def box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", 8 + len(body)) + kind + body


def test_the_largest_size_of_an_iso_file_counts_wherever_its_boxes_are() -> None:
    sizes = [box(b"ispe", struct.pack(">III", 0, *size)) for size in ((512, 512), (8000, 6000))]
    head, meta = box(b"ftyp", b"avif\0\0\0\0avifmif1"), box(b"meta", b"\0\0\0\0" + b"".join(sizes))

    assert image_header.pixels("AVIF", head + meta + box(b"mdat", bytes(70_000))) == 48_000_000
    assert image_header.pixels("AVIF", head + box(b"mdat", bytes(70_000)) + meta) == 48_000_000


@pytest.mark.parametrize(("order", "mark"), [("<", b"II"), (">", b"MM")])
@pytest.mark.parametrize(("kind", "letter"), [(3, "H6x"), (4, "I4x"), (16, "Q")])
def test_a_tiffs_sides_are_read_in_each_of_their_types(order: str, mark: bytes, kind: int, letter: str) -> None:
    tags = b"".join(struct.pack(f"{order}HHQ{letter}", tag, kind, 1, side) for tag, side in ((256, 300), (257, 200)))

    assert image_header.pixels("TIFF", mark + struct.pack(f"{order}HHHQQ", 43, 8, 0, 16, 2) + tags) == 60_000


def test_a_size_of_nothing_is_none() -> None:
    assert image_header.pixels("PNG", b"\x89PNG\r\n\x1a\n" + bytes(16)) is None
