"""Listing images and naming what is left out: see also `tests/inputs/test_datasets.py`."""

import os
from pathlib import Path

import pytest

from service.measure.accuracy import listing
from service.tasks.scoring_base import Remark


def test_a_file_is_found_by_its_stem_whatever_its_suffix(tmp_path: Path) -> None:
    (tmp_path / "a.PNG").touch()
    assert listing.find(tmp_path, "a", ".jpg") == tmp_path / "a.PNG"
    (tmp_path / "a.jpg").touch()
    assert listing.find(tmp_path, "a", ".jpg") == tmp_path / "a.jpg"
    assert listing.find(tmp_path, "b", ".jpg") == tmp_path / "b.jpg"


def test_images_or_masks_of_one_name_are_left_out_because_their_pairs_are_a_guess(tmp_path: Path) -> None:
    for name in ("images/a.jpg", "images/A.png", "masks/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    left_out: list[Remark] = []
    assert listing.pairs(tmp_path / "images", tmp_path / "masks", left_out) == []
    assert {each.path.name for each in left_out} == {"a.jpg", "A.png", "a.png"}


def test_a_summary_has_a_line_for_each_reason_with_some_names(tmp_path: Path) -> None:
    remarks = [*(Remark(tmp_path / f"{name}.jpg", "it is dark") for name in "abc"), Remark(tmp_path / "d", "it is old")]
    assert list(listing.summary(remarks, tmp_path, 2)) == [
        "3 files, because it is dark: a.jpg, b.jpg and 1 more",
        "1 file, because it is old: d",
    ]


def test_images_are_found_one_by_one_and_everything_else_is_left_out(tmp_path: Path) -> None:
    for name in ("b/2.jpg", "a.jpg", ".hidden.jpg", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    left_out: list[Remark] = []

    found = listing.walk(tmp_path, left_out)

    assert next(found) == tmp_path / "a.jpg"
    assert list(found) == [tmp_path / "b" / "2.jpg"]
    assert {remark.path.name for remark in left_out} == {".hidden.jpg", "notes.txt"}


def test_a_pipe_is_left_out_and_does_not_block(tmp_path: Path) -> None:
    for name in ("a.jpg", "b"):
        os.mkfifo(tmp_path / name)
    left_out: list[Remark] = []

    assert listing.images(tmp_path, left_out) == []
    assert left_out == [Remark(tmp_path / name, "it is not a regular file") for name in ("a.jpg", "b")]


def test_a_folder_is_listed_once_and_its_other_names_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.jpg").touch()
    (tmp_path / "a" / "up").symlink_to("..")
    (tmp_path / "b").symlink_to("a")
    left_out: list[Remark] = []

    assert listing.images(tmp_path, left_out) == [tmp_path / "a" / "1.jpg"]
    reason = "it is a folder that is listed already by another name"
    assert left_out == [Remark(tmp_path / "a" / "up", reason), Remark(tmp_path / "b", reason)]


def test_a_link_to_nothing_is_an_image_whose_reader_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").symlink_to("nowhere.jpg")

    assert listing.images(tmp_path, []) == [tmp_path / "a.jpg"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_that_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0)
    left_out: list[Remark] = []

    assert listing.images(tmp_path, left_out) == []
    assert [remark.reason for remark in left_out] == ["it is a folder that cannot be read"]
