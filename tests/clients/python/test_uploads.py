"""What may be sent as an image, and which files of a folder are images."""

import io
from pathlib import Path
from typing import Any

import pytest
from resnest_client.uploads import SUFFIXES, images_in, read_image

from service.imaging.decoder import FORMATS


def test_a_path_bytes_and_an_open_file_are_images(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"content")

    with path.open("rb") as opened:
        forms: list[Any] = [path, str(path), b"content", bytearray(b"content"), memoryview(b"content"), opened]
        assert [read_image(form) for form in forms] == [b"content"] * 6


@pytest.mark.parametrize("other", [io.StringIO("text"), 5, None, ["photo.jpg"]])
def test_anything_else_is_not(other: Any) -> None:
    with pytest.raises(TypeError, match="binary mode"):
        read_image(other)


def test_the_images_of_a_folder_are_found_by_suffix_in_order(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.png", "notes.txt", "deep/c.webp", "d.jpg/inside.gif"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")

    found = [str(path.relative_to(tmp_path)) for path in images_in(tmp_path)]

    assert found == ["a.png", "b.JPG", "d.jpg/inside.gif", "deep/c.webp"]


@pytest.mark.parametrize("name", ["missing", "photo.jpg"])
def test_a_folder_that_is_not_there_is_an_error_and_not_an_empty_one(tmp_path: Path, name: str) -> None:
    tmp_path.joinpath("photo.jpg").write_bytes(b"")

    with pytest.raises(OSError, match=name):
        list(images_in(tmp_path / name))


def test_every_format_of_the_service_has_its_suffix() -> None:
    assert {f".{name.lower()}" for name in FORMATS} <= SUFFIXES
