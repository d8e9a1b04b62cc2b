"""Label files: one line per class, or a shared table."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from service.models import labels
from service.models.labels import LabelsError


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("class_id\tlabel\n0\tcat\n2\tdog\n", "row 1 of the label set is not class 1"),
        ("class_id\tname\n0\tcat\n1\tdog\n", "label 0 is empty"),
        ("class_id\tlabel\tcolor\n0\tcat\tred\n1\tdog\tblue\n", "label 0 has the colour 'red'"),
    ],
    ids=["a gap", "no column of labels", "a colour's name"],
)
def test_a_shared_table_that_is_broken_is_refused(tmp_path: Path, rows: str, message: str) -> None:
    (tmp_path / "pets.tsv").write_text(rows, encoding="utf-8")
    with pytest.raises(LabelsError, match=message):
        labels.read(tmp_path / "pets.tsv", table=True)


def test_an_empty_file_has_no_labels(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert labels.read(tmp_path / "empty", table=True) == labels.read(tmp_path / "empty", table=False) == ()


def test_a_file_that_is_not_there_is_told_by_its_path(tmp_path: Path) -> None:
    with pytest.raises(LabelsError, match=r"nowhere\.txt cannot be read"):
        labels.read(tmp_path / "nowhere.txt", table=False)


def test_a_line_is_a_name_and_perhaps_a_colour(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("background\ncat\t#ff8000\n", encoding="utf-8")
    found = labels.read(tmp_path / "labels.txt", table=False)
    assert [(each.class_id, each.label, each.hex_color) for each in found] == [
        (0, "background", "#000000"),
        (1, "cat", "#ff8000"),
    ]


@pytest.mark.parametrize(
    ("given", "expected"),
    [(["crane", "cat"], ("crane", "cat")), (["crane", "cat", "crane"], ("crane #0", "cat", "crane #2"))],
)
def test_classes_of_one_label_are_told_apart_by_their_ids(given: Sequence[str], expected: Sequence[str]) -> None:
    assert labels.distinct(given) == expected
