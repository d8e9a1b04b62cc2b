"""Bytes that are the name of an image file."""

import pytest

from service.imaging.decoder import FORMATS
from service.imaging.formats.file_names import MAX_NAME_BYTES, SUFFIXES, name_in


@pytest.mark.parametrize(
    "name",
    ["cat.jpg", "IMG_0001.JPG", "photos/my cat.png", "C:\\a b\\cat.jpeg", "../~a/x (1).webp", "Käse.heic", "a.b.tiff"],
)
@pytest.mark.parametrize("form", ["{}", "@{}", "{}\n", " {} "])
def test_the_name_of_an_image_file_is_recognised(name: str, form: str) -> None:
    assert name_in(form.format(name).encode()) == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        "cat",
        ".jpg",
        "notes.txt",
        "https://example.org/cat.jpg",
        "file=@cat.jpg",
        '{"image": "cat.jpg"}',
        "two\nlines.jpg",
        "<b>.jpg",
        "cat.jpg of Ann",
        "x" * MAX_NAME_BYTES + ".jpg",
    ],
)
def test_other_texts_are_no_names(text: str) -> None:
    assert name_in(text.encode()) is None


def test_bytes_that_are_no_text_are_no_name() -> None:
    assert name_in(b"\xff\xd8\xff.jpg") is None


def test_every_format_has_a_suffix() -> None:
    assert {f".{name.lower()}" for name in FORMATS} <= SUFFIXES
