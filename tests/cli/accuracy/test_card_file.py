"""Editing a card keeps what is not edited."""

import tomllib
from pathlib import Path

import pytest

from service.cli.accuracy import card_file

CARD = '# A comment.\nname = "mine"\n\n[serving]\nbatch_size = 2  # small\n'


def test_comments_and_other_values_stay(tmp_path: Path) -> None:
    path = tmp_path / "card.toml"
    path.write_text(CARD)
    path.chmod(0o640)

    with card_file.edited(tmp_path) as document:
        document["calibration"] = {"temperature": 1.5}
        document["measured"]["rate"] = 0.5

    text = path.read_text()
    assert text.startswith(CARD.rstrip("\n"))
    assert tomllib.loads(text)["calibration"] == {"temperature": 1.5}
    assert tomllib.loads(text)["measured"] == {"rate": 0.5}
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_file_takes_the_place_of_the_former_one(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(b"1")

    with card_file.replaced(tmp_path, "old", "new", b"2"):
        assert {path.name for path in tmp_path.iterdir()} == {"old", "new"}
    assert [path.name for path in tmp_path.iterdir()] == ["new"]

    with card_file.replaced(tmp_path, "new", "new", b"2"):
        pass
    assert (tmp_path / "new").read_bytes() == b"2"
    with card_file.replaced(tmp_path, "new"):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("before", [None, b"2"], ids=["it is new", "it was there"])
def test_an_exception_leaves_the_files_as_they_were(tmp_path: Path, before: bytes | None) -> None:
    (tmp_path / "old").write_bytes(b"1")
    if before is not None:
        (tmp_path / "new").write_bytes(before)
    content = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    with pytest.raises(KeyboardInterrupt), card_file.replaced(tmp_path, "old", "new", b"2"):
        raise KeyboardInterrupt

    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == content


def test_an_error_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "card.toml").write_text(CARD)

    with pytest.raises(ZeroDivisionError), card_file.edited(tmp_path) as document:
        document["name"] = str(1 // 0)

    assert (tmp_path / "card.toml").read_text() == CARD
