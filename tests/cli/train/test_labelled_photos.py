"""What a folder must have before anything is trained on it, and which copies are left out."""

import os
from collections import Counter
from pathlib import Path

import pytest

from service.cli.train import labelled_photos
from service.models.cards import CardError
from service.tasks.scoring_base import LabelledImage
from tests.cli.train.photos import write


def refused(folder: Path, split: str = "") -> str:
    with pytest.raises(CardError) as error:
        labelled_photos.read(folder, split)
    return str(error.value)


def test_the_labels_are_the_folders_sorted(tmp_path: Path) -> None:
    found = labelled_photos.read(write(tmp_path, {"sea": 10, "brick": 11}), "")

    assert found.folders == ("brick", "sea")
    assert Counter(image.label for image in found.dataset.images) == {"brick": 11, "sea": 10}


def test_a_split_is_a_folder_of_the_labels_folders(tmp_path: Path) -> None:
    write(tmp_path / "train", {"sea": 10, "brick": 10})
    write(tmp_path / "val", {"sea": 1, "brick": 1})

    assert "it has the splits train, val; choose one with --split" in refused(tmp_path)
    assert len(labelled_photos.read(tmp_path, "train").dataset.images) == 20


def test_each_label_with_too_few_photos_is_named_with_how_many_it_needs(tmp_path: Path) -> None:
    write(tmp_path, {"sea": 4, "brick": 10, "sand": 9})
    (tmp_path / "grass").mkdir()

    message = refused(tmp_path)

    for words in ("sea has 4 and needs 6 more", "sand has 9 and needs 1 more", "grass has 0 and needs 10 more"):
        assert words in message
    assert "brick" not in message


@pytest.mark.parametrize(("on_disk", "label"), [("ro\u0301sa", "rósa"), (" rose ", "rose")])
def test_a_label_may_be_decomposed_or_have_blanks_around_it_on_disk(on_disk: str, label: str, tmp_path: Path) -> None:
    write(tmp_path, {"sea": 10, "brick": 10})
    (tmp_path / "brick").rename(tmp_path / on_disk)

    found = labelled_photos.read(tmp_path, "")

    assert found.folders == (label, "sea")
    assert Counter(image.label for image in found.dataset.images) == {label: 10, "sea": 10}


def test_what_is_left_out_of_a_label_without_photos_is_named(tmp_path: Path) -> None:
    write(tmp_path, {"sea": 10})
    (tmp_path / "bay").symlink_to("sea")

    message = refused(tmp_path)

    assert "bay has 10 and needs" not in message
    assert "sea has 0 and needs 10 more" in message
    assert "Left out: 1 file, because it is a folder that is listed already by another name: sea" in message


def test_one_label_is_refused_with_what_to_add(tmp_path: Path) -> None:
    assert "has one label, sea, and a classifier needs at least two" in refused(write(tmp_path, {"sea": 12}))


def test_labels_that_differ_only_by_case_are_refused(tmp_path: Path) -> None:
    message = refused(write(tmp_path, {"Sea": 10, "sea": 10, "brick": 10}))

    assert "'Sea' and 'sea'" in message
    assert "put their photos into one folder" in message


def test_a_folder_name_that_no_label_file_can_hold_is_refused(tmp_path: Path) -> None:
    write(tmp_path, {"sea": 10, "brick": 10})
    (tmp_path / "sea").rename(tmp_path / "se\ta")

    assert "has a name that is no label" in refused(tmp_path)


def test_a_folder_without_any_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sea").mkdir()
    (tmp_path / "sea" / "notes.txt").write_text("no image", encoding="utf-8")

    assert "it is not an image: sea/notes.txt" in refused(tmp_path).replace(os.sep, "/")


def test_of_equal_files_the_first_is_kept_and_none_of_two_labels() -> None:
    names = ("sea/1.jpg", "sea/2.jpg", "sea/3.jpg", "brick/1.jpg", "brick/2.jpg")
    images = [LabelledImage(Path(name), name.partition("/")[0]) for name in names]

    kept, remarks = labelled_photos.without_copies(images, ["a", "b", "a", "b", "c"])

    assert kept == [0, 4]
    reasons = {str(each.path): each.reason for each in remarks}
    assert reasons["sea/3.jpg"] == "it is a copy of 1.jpg"
    assert reasons["sea/2.jpg"] == reasons["brick/1.jpg"]
    assert "several labels: brick, sea" in reasons["sea/2.jpg"]
