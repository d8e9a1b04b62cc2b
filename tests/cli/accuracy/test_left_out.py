"""Files that a command leaves out are named with the reason."""

from pathlib import Path

import pytest
from PIL import Image

from service.cli.accuracy import left_out
from service.tasks.scoring_base import Remark


def test_each_reason_is_a_line_with_names_relative_to_the_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    remarks = [Remark(tmp_path / "a" / name, "it is broken") for name in ("x", "y")]

    lines = left_out.say([*remarks, Remark(tmp_path / "z", "it is late")], tmp_path, "Note")

    assert lines == ["2 files, because it is broken: a/x, a/y", "1 file, because it is late: z"]
    assert capsys.readouterr().err.splitlines() == [f"Note: {line}" for line in lines]


def test_the_images_of_a_folder_are_listed_and_the_other_files_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "notes.txt").write_text("no image", encoding="utf-8")

    assert left_out.images(tmp_path) == [tmp_path / "a.png"]
    assert capsys.readouterr().err == "Left out: 1 file, because it is not an image: notes.txt\n"
