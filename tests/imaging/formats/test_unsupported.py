"""The names of what is not read. `tests/inputs/test_uploads.py` has a file of each."""

import pytest

from service.imaging.decoder import FORMATS
from service.imaging.formats import unsupported
from tests.odd_images import written


@pytest.mark.parametrize("kind", FORMATS)
def test_what_is_read_has_no_such_name(kind: str) -> None:
    data = written(kind)
    assert unsupported.variant(kind, data) is None
    assert unsupported.format_of(data) is None
    assert kind != "TIFF" or unsupported.hidden_image(data) is None


@pytest.mark.parametrize("kind", unsupported.VARIANTS)
def test_a_file_that_is_cut_anywhere_has_none_either(kind: str) -> None:
    data = written(kind)
    assert {unsupported.variant(kind, data[:end]) for end in range(len(data))} == {None}
    assert {unsupported.hidden_image(data[:end]) for end in range(len(data))} == {None}


@pytest.mark.parametrize(
    ("data", "words"),
    [(b"cat.jpg", "the name of a file"), (b"https://example.org/a.png", "a URL"), (b"http://example.org", "a URL")],
)
def test_a_text_that_names_an_image_is_called_what_it_is(data: bytes, words: str) -> None:
    assert str(unsupported.format_of(data)).startswith(words)
