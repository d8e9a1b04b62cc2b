"""Texts in place of files."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.gateway.uploads.parsers.text_content import (
    TEXT_BYTES,
    in_place_of_file,
    in_place_of_image,
    in_place_of_json,
)
from service.imaging.decoder import FORMATS
from tests.odd_images import written


def test_the_name_of_a_file_in_a_field_is_repeated_with_the_option_that_sends_the_file() -> None:
    assert in_place_of_file("image", b"cat.jpg") == (
        "The field 'image' holds the text cat.jpg, not that file. With curl, write -F image=@cat.jpg."
    )


def test_a_name_with_blanks_is_quoted_for_the_shell() -> None:
    assert "-F 'file=@my cat.jpg'" in str(in_place_of_file("file", b"my cat.jpg"))
    assert "--data-binary '@my cat.jpg' or -F 'file=@my cat.jpg'" in in_place_of_image("my cat.jpg")
    assert "-F 'file=@my cat.jpg'" in in_place_of_json("my cat.jpg")


@pytest.mark.parametrize("text", ["hello", "x" * 1000, "{}", "ä" * TEXT_BYTES, "a" + "ä" * TEXT_BYTES, "two\r\nlines"])
def test_another_text_in_a_field_is_not_repeated(text: str) -> None:
    assert in_place_of_file("file", text.encode()) == (
        "The field 'file' holds text, not a file. With curl, write -F file=@photo.jpg."
    )


@pytest.mark.parametrize("content", [b"", b"\0\1\2", b"\xff\xfe", b"https://example.org/a.png", b"data:image/png,A"])
def test_what_is_no_text_or_has_a_name_of_its_own_is_left_to_the_decoder(content: bytes) -> None:
    assert in_place_of_file("file", content) is None


@pytest.mark.parametrize("kind", FORMATS)
def test_an_image_without_a_file_name_is_no_text(kind: str) -> None:
    assert in_place_of_file("file", written(kind)) is None


@given(st.binary(max_size=2 * TEXT_BYTES))
def test_any_bytes_are_text_or_left_to_the_decoder(content: bytes) -> None:
    assert in_place_of_file("file", content) is None or content.decode(errors="replace")
