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


def test_an_error_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "card.toml").write_text(CARD)

    with pytest.raises(ZeroDivisionError), card_file.edited(tmp_path) as document:
        document["name"] = str(1 // 0)

    assert (tmp_path / "card.toml").read_text() == CARD
