"""Reading text that people edit: byte order marks, encodings, names and tables."""

import unicodedata
from pathlib import Path

import pytest

from service.models import text_file
from service.models.text_file import TextError


@pytest.mark.parametrize("data", [b"\xef\xbb\xbfcat\r\ndog\r", b"cat\ndog\n"])
def test_a_byte_order_mark_and_the_kind_of_line_ends_change_nothing(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "text").write_bytes(data)
    assert text_file.read(tmp_path / "text") == "cat\ndog\n"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("cat\n".encode("utf-16"), "it is UTF-16; save it as UTF-8"),
        ("\ufeffcat\n".encode("utf-16-be"), "it is UTF-16;"),
        ("cat\n".encode("utf-32"), "it is UTF-32;"),
        ("cat\n".encode("utf-16-le"), "UTF-16 without a byte order mark, or not text"),
        ("cat\nrüde\n".encode("latin-1"), "line 2 has the byte 0xfc, which is not UTF-8"),
    ],
)
def test_another_encoding_is_named_with_the_cure(data: bytes, message: str) -> None:
    with pytest.raises(TextError, match=message):
        text_file.decode(data)


def test_a_name_is_composed_and_has_no_white_space_around_it() -> None:
    assert text_file.name(f" {unicodedata.normalize('NFD', 'café')}\t") == "café"


def test_names_are_compared_without_case_form_and_kind_of_blank() -> None:
    assert text_file.folded(f"Golden_{unicodedata.normalize('NFD', 'é')} ") == text_file.folded("golden  É")


def test_a_table_has_trimmed_cells_and_empty_ones_where_a_row_ends_early() -> None:
    assert text_file.table("image, label \na.jpg, cat\nb.jpg\n", ["label"], "index.csv") == [
        {"image": "a.jpg", "label": "cat"},
        {"image": "b.jpg", "label": ""},
    ]


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_a_table_of_another_separator_is_refused_with_the_separator(separator: str) -> None:
    with pytest.raises(TextError) as caught:
        text_file.table(f"image{separator}split\na{separator}b\n", ["image", "split"], "index.csv")
    assert "index.csv has no column image, split" in str(caught.value)
    assert f"separated by {separator!r}" in str(caught.value)


def test_a_row_with_too_many_cells_is_refused_because_a_name_may_hold_a_comma() -> None:
    with pytest.raises(TextError, match=r"line 3 of index\.csv has more cells"):
        text_file.table("image,label\na.jpg,cat\nb,c.jpg,cat\n", ["image"], "index.csv")
