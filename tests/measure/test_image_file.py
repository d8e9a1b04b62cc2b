"""Only regular files of a size that a service may take are read."""

import os
from pathlib import Path

import pytest

from service.errors import BodyTooLarge
from service.measure import image_file


def test_the_bytes_of_a_file_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"abc")

    assert image_file.read(tmp_path / "a.png") == b"abc"


def test_a_pipe_is_refused_and_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")

    with pytest.raises(OSError, match="not a regular file"):
        image_file.read(tmp_path / "a.png")


def test_a_file_beyond_every_limit_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "huge.png").open("wb") as file:
        file.truncate(image_file.MAX_BYTES + 1)

    with pytest.raises(BodyTooLarge) as raised:
        image_file.read(tmp_path / "huge.png")
    assert (raised.value.limit, raised.value.actual) == (image_file.MAX_BYTES, image_file.MAX_BYTES + 1)


def test_a_missing_file_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        image_file.read(tmp_path / "none.png")
