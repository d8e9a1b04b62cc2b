"""Checks of images and masks before scoring: see also `tests/inputs/test_datasets.py`."""

import os
from pathlib import Path

import pytest
from PIL import Image

from service.measure.accuracy import ground_truth
from service.tasks.scoring_base import UNCHANGED, LabelledImage
from tests.measure.accuracy.made_datasets import masked


def test_an_image_that_cannot_be_opened_is_left_out_with_the_reason(tmp_path: Path) -> None:
    found = ground_truth.check([LabelledImage(tmp_path / "gone.jpg", "cat")], None)
    assert (found.images, [each.reason for each in found.left_out]) == (
        [],
        ["it cannot be read: No such file or directory"],
    )


def test_a_pipe_is_left_out_and_does_not_block(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    for name in ("a.png", "b.jpg"):
        os.mkfifo(tmp_path / name)
    images = [LabelledImage(tmp_path / "a.jpg", mask=tmp_path / "a.png"), LabelledImage(tmp_path / "b.jpg", "cat")]

    found = ground_truth.check(images, None)

    assert not found.images
    assert [(each.path.name, each.reason) for each in found.left_out] == [
        ("a.jpg", "its mask is not a regular file"),
        ("b.jpg", "it is not a regular file"),
    ]


def test_a_label_counts_without_its_mask(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    found = ground_truth.check([LabelledImage(tmp_path / "a.jpg", "cat", tmp_path / "gone.png")], None)
    assert [(image.label, image.mask) for image in found.images] == [("cat", None)]
    assert [each.path.name for each in found.left_out] == ["gone.png"]


@pytest.mark.parametrize(
    ("true", "given", "problem"),
    [
        ([[0, 255]], None, True),
        ([[255, 255]], None, True),
        ([[0, 1, 255]], None, False),
        ([[0, 0]], None, False),
        ([[0, 255]], {255: 1}, False),
    ],
)
def test_masks_are_drawn_with_255_if_they_have_no_other_class(
    tmp_path: Path, true: list[list[int]], given: dict[int, int] | None, *, problem: bool
) -> None:
    image = masked(tmp_path, true, true)
    assert bool(ground_truth.check([image], given).mask_problem) == problem


def test_a_mask_of_a_layout_with_its_own_values_is_never_taken_for_drawn(tmp_path: Path) -> None:
    image = masked(tmp_path, [[0, 255]], [[0, 0]])
    from_one = (*UNCHANGED[1:], 255)
    assert not ground_truth.check([LabelledImage(image.path, mask=image.mask, values=from_one)], None).mask_problem


@pytest.mark.parametrize(
    ("size", "orientation", "noted"), [((4, 4), 6, True), ((6, 4), 3, True), ((6, 4), 1, False), ((4, 4), 1, False)]
)
def test_a_mask_whose_position_cannot_be_told_is_taken_as_it_is_and_named(
    tmp_path: Path, size: tuple[int, int], orientation: int, *, noted: bool
) -> None:
    exif = Image.Exif()
    exif[ground_truth.ORIENTATION] = orientation
    Image.new("RGB", size).save(tmp_path / "a.jpg", exif=exif)
    Image.new("L", size, 1).save(tmp_path / "a.png")
    found = ground_truth.check([LabelledImage(tmp_path / "a.jpg", mask=tmp_path / "a.png")], None)
    assert [image.turn for image in found.images] == [1]
    assert [each.path.name for each in found.notes] == ["a.png"] * noted
    assert all("taken as it is" in each.reason for each in found.notes)
