"""Atomic file writes, and the error for a file that cannot be used."""

import errno
import os
from pathlib import Path

import pytest

from service.models import atomic_write
from service.models.atomic_write import FileError


def test_the_parts_take_the_place_of_what_was_there_with_the_mode_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"before")
    atomic_write.write(path, b"one ", b"two", mode=0o640)

    assert path.read_bytes() == b"one two"
    assert path.stat().st_mode & 0o777 == 0o640
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_nobody_else_may_read_a_file_unless_that_is_asked_for(tmp_path: Path) -> None:
    atomic_write.write(tmp_path / "file", b"")

    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600


def test_where_writing_fails_what_was_there_stays_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"before")

    with pytest.raises(TypeError):
        atomic_write.write(path, b"half", "no bytes")  # type: ignore[arg-type]

    assert path.read_bytes() == b"before"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "x"), "a/b: No such file or directory"),
        (ValueError("line 3: no"), "a/b: line 3: no"),
    ],
)
def test_why_a_file_cannot_be_used_is_one_sentence(error: OSError | ValueError, message: str) -> None:
    assert str(FileError.of("a/b", error)) == message


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file to another user")
def test_a_file_of_another_user_stays_theirs_if_its_access_is_to_be_kept(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    os.chown(path, 4321, 4322)
    path.chmod(0o640)

    atomic_write.write(path, b"new", keep_access=True)

    found = path.stat()
    assert (path.read_bytes(), found.st_uid, found.st_gid, found.st_mode & 0o777) == (b"new", 4321, 4322, 0o640)
