"""Files that appear when they are complete, and the places of one file for each image."""

from pathlib import Path

import pytest

from service.cli.predict.annotations.form import Places, replaced
from service.cli.predict.failures import RunFailedError


def test_a_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.json"
    with replaced(path) as file:
        file.write("all")
        assert not path.exists()

    assert path.read_text() == "all"


def test_a_file_that_was_not_completed_leaves_the_earlier_one(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("earlier")

    with pytest.raises(ZeroDivisionError), replaced(path) as file:
        file.write(str(1 // 0))

    assert [each.read_text() for each in tmp_path.iterdir()] == ["earlier"]


def test_a_place_belongs_to_one_image(tmp_path: Path) -> None:
    places = Places(tmp_path, ".txt")

    assert places.claim("x/a.jpg") == tmp_path / "x" / "a.txt"
    assert places.claim("y/a.jpg") == tmp_path / "y" / "a.txt"
    with pytest.raises(RunFailedError):
        places.claim("x/a.png")
