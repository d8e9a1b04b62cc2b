"""Hostile and damaged bytes: `decode` returns an image, or raises an error that says what is wrong with the upload."""

import struct
import warnings
from collections import Counter
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from service.errors import ImageCorrupt, ImageTooLarge, ServiceError
from service.imaging.decoder import FORMATS, DecodedImage, ImageLimits, decode
from tests.odd_images import CORPUS, chunk, encode, manifest, png, tiff, with_chunk, written


def read(data: bytes) -> DecodedImage:
    return decode(data, ImageLimits())


def outcome(data: bytes) -> str:
    """Return `ok` or the code of the caller's error. Any other exception is an error of the service and is raised."""
    try:
        found = read(data)
    except ServiceError as error:
        return error.code() if 400 <= error.status < 500 else f"a {error.status}"
    assert found.image.mode == "RGB"
    return "ok"


# Bombs -----------------------------------------------------------------------------------------------------------


def webp_header(width: int, height: int) -> bytes:
    canvas = b"\0\0\0\0" + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", len(canvas)) + canvas
    return b"RIFF" + struct.pack("<I", len(body)) + body


BOMBS = {
    "PNG, past Pillow's own limit": png(20_000, 20_000),
    "PNG, one pixel wide": png(1, 83_886_338),
    "PNG, of the largest size that its header can declare": png(2**31 - 1, 2**31 - 1),
    "BMP": b"BM" + struct.pack("<IIIIiiHHIIIIII", 54, 0, 54, 40, 60_000, 60_000, 1, 24, 0, 0, 0, 0, 0, 0),
    "GIF": b"GIF89a" + struct.pack("<HHBBB", 65_535, 65_535, 0, 0, 0) + b",\0\0\0\0\1\0\1\0\0\2\2L\1\0;",
    "GIF, by its first frame": b"GIF89a" + struct.pack("<HHBBB", 9, 9, 0, 0, 0)
    + b"," + struct.pack("<HHHHB", 0, 0, 13_000, 13_000, 0) + b"\2\2L\1\0;",
    "WEBP": webp_header(16_383, 16_383),
    "TIFF": tiff(60_000, 60_000, (8,), 1, b"\0" * 64),
    "JPEG": b"\xff\xd8\xff\xc0\0\x0b\x08\xff\xff\xff\xff\1\1\x11\0\xff\xda\0\x08\1\1\0\0\x3f\0",
}  # fmt: skip


@pytest.mark.parametrize("data", BOMBS.values(), ids=BOMBS)
def test_a_decompression_bomb_is_refused_by_its_header(data: bytes) -> None:
    with pytest.raises(ImageTooLarge):
        read(data)


# Damage ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FORMATS)
def test_a_truncated_picture_is_corrupt_wherever_it_ends(kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    data = encode(Image.fromarray(noise), kind)
    # Checksums and the end marker come after the last pixel.
    end = len(data) - {"PNG": 24, "JPEG": 3, "GIF": 3}.get(kind, 1)
    assert {outcome(data[:cut]) for cut in [*range(16, end, 7), end]} == {"image_corrupt"}


def test_nothing_of_the_picture_or_of_pillow_is_told() -> None:
    with pytest.raises(ImageCorrupt) as caught:
        read(png(32, 24, chunk(b"IDAT", b"password=secret")))
    assert caught.value.detail == "The PNG data is damaged or incomplete."
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_pillow_does_not_tell_of_what_we_answer_for(capfd: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert outcome(with_chunk(written("PNG"), b"acTL", bytes(8))) == "ok"
        assert outcome(tiff(16, 16, (8,), 1, bytes(256), samples=999)) == "image_corrupt"
    assert caught == []
    assert capfd.readouterr().err == ""


def test_a_second_frame_that_is_damaged_does_not_spoil_the_first() -> None:
    data = written("GIF", save_all=True, append_images=[Image.new("RGB", (32, 24), "blue")])
    second = data.rindex(b",\0\0")
    assert [outcome(data[:end]) for end in range(second, len(data))] == ["ok"] * (len(data) - second)


@cache
def seed(kind: str, mode: str) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    return encode(Image.fromarray(noise).convert(mode), kind)


SEEDS = [
    ("JPEG", "RGB"), ("JPEG", "CMYK"), ("PNG", "RGBA"), ("PNG", "P"), ("WEBP", "RGBA"), ("GIF", "P"), ("BMP", "P"),
    ("TIFF", "RGB"), ("TIFF", "CMYK"), ("AVIF", "RGB"),
]  # fmt: skip

CALLER_ERRORS = {
    "unsupported_media_type", "image_too_large", "image_too_small", "image_corrupt", "image_mode_unsupported",
    "image_too_costly", "image_kind_unsupported",
}  # fmt: skip


@settings(deadline=None, max_examples=400)
@given(st.sampled_from(SEEDS), st.data())
def test_changed_bytes_are_a_picture_or_the_callers_mistake(seeded: tuple[str, str], data: st.DataObject) -> None:
    changed = bytearray(seed(*seeded))
    for _ in range(data.draw(st.integers(1, 6), "changes")):
        at = data.draw(st.integers(0, len(changed) - 1), "at")
        span = data.draw(st.sampled_from([0, 1, 1, 1, 8]), "span")
        changed[at : at + span] = data.draw(st.binary(max_size=8), "by")
    assert outcome(bytes(changed)) in {"ok", *CALLER_ERRORS}


@settings(deadline=None)
@given(
    st.sampled_from([b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\0", b"MM\0+", b"RIFF1234WEBP"]),
    st.binary(),
)
def test_any_bytes_behind_a_formats_mark_are_the_callers_mistake(mark: bytes, rest: bytes) -> None:
    assert outcome(mark + rest) in CALLER_ERRORS


# The corpus ------------------------------------------------------------------------------------------------------

needs_corpus = pytest.mark.skipif(not CORPUS.is_dir(), reason="../shared/data/odd-images is missing")

# The manifest calls them ok, because a second load of a broken PNG succeeds. The first load fails.
BROKEN = {
    "pillow/Tests/images/broken_data_stream.png",
    "pillow/Tests/images/truncated_end_chunk.png",
    "pillow/Tests/images/apng/chunk_no_fctl.png",
}

# Pillow's verdict on a file, whether the service accepts the format, and the service's answer: the number of files.
TABLE: dict[tuple[str, bool, str], int] = {
    ("DecompressionBombError", False, "image_too_large"): 2,
    ("DecompressionBombError", False, "unsupported_media_type"): 2,
    ("NotImplementedError", False, "unsupported_media_type"): 1,
    ("OSError", False, "image_corrupt"): 1,
    ("OSError", False, "image_kind_unsupported"): 4,  # BMPs: of a JPEG, of a PNG, and two with unusual bit masks
    ("OSError", False, "unsupported_media_type"): 33,
    ("OSError", True, "image_corrupt"): 10,
    ("TypeError", True, "image_corrupt"): 1,
    ("UnidentifiedImageError", False, "image_corrupt"): 42,
    ("UnidentifiedImageError", False, "image_kind_unsupported"): 1,  # a JPEG of 12 bits
    ("UnidentifiedImageError", False, "ok"): 2,  # a HEIC, and a PNG with a damaged chunk that its pixels do not need
    ("UnidentifiedImageError", False, "unsupported_media_type"): 47,
    ("ValueError", False, "unsupported_media_type"): 2,
    ("ValueError", True, "image_corrupt"): 1,
    ("ok", False, "ok"): 1,  # an MPO, whose first image is a JPEG
    ("ok", False, "unsupported_media_type"): 70,
    ("ok", True, "image_corrupt"): len(BROKEN),
    ("ok", True, "image_mode_unsupported"): 2,
    ("ok", True, "image_too_small"): 26,
    ("ok", True, "ok"): 513,
}


@cache
def corpus_outcomes() -> list[tuple[dict[str, str], str]]:
    return [(row, outcome((CORPUS / row["path"]).read_bytes())) for row in manifest()]


@needs_corpus
def test_the_corpus_of_odd_files_is_answered_as_recorded() -> None:
    found = Counter((row["verdict"], row["format"] in FORMATS, code) for row, code in corpus_outcomes())
    assert found == TABLE


@needs_corpus
def test_a_file_of_the_corpus_that_is_sound_and_within_the_limits_is_decoded() -> None:
    for row, code in corpus_outcomes():
        if row["verdict"] != "ok" or row["format"] not in FORMATS or row["path"] in BROKEN:
            continue
        too_small = min(int(row["width"]), int(row["height"])) < ImageLimits().min_side
        expected = "image_too_small" if too_small else "image_mode_unsupported" if row["mode"] in {"I", "F"} else "ok"
        assert code == expected, row["path"]


@needs_corpus
def test_the_corpus_has_the_sizes_that_the_manifest_says() -> None:
    for row, code in corpus_outcomes():
        if code == "ok" and row["format"] in FORMATS:
            found = read((CORPUS / row["path"]).read_bytes())
            sideways = row["exif_orientation"] in {"5", "6", "7", "8"} and row["format"] != "TIFF"
            size = (int(row["width"]), int(row["height"]))[:: -1 if sideways else 1]
            assert (found.width, found.height, found.format, found.mode) == (*size, row["format"], row["mode"]), row
            assert found.image.size == size
