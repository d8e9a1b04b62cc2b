"""The ground truth with which the outputs of every task are compared."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from service.models.cards import CardError
from service.tasks.scoring_base import Dataset, LabelledImage, confusion_rows, distinct


def test_a_mask_that_is_none_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (2, 2)).save(tmp_path / "colours.png")
    (tmp_path / "text.png").write_text("not an image", encoding="utf-8")
    for name, message in (
        ("colours", "is RGB, but a mask is an indexed"),
        ("text", "cannot be read"),
        ("no", "cannot be"),
    ):
        with pytest.raises(CardError, match=message):
            LabelledImage(tmp_path / "a.jpg", mask=tmp_path / f"{name}.png").class_ids()
    with pytest.raises(CardError, match="has no mask"):
        LabelledImage(tmp_path / "a.jpg").class_ids()


def test_only_images_with_the_truth_are_used_and_one_is_needed(tmp_path: Path) -> None:
    images = (LabelledImage(tmp_path / "a", "cat"), LabelledImage(tmp_path / "b"))
    dataset = Dataset(tmp_path, "folders", images)
    assert dataset.with_truth(lambda image: image.label, "label", "m") == [images[0]]
    with pytest.raises(CardError, match="has no image with a mask for m"):
        dataset.with_truth(lambda image: image.mask, "mask", "m")


@pytest.mark.parametrize(
    ("labels", "expected"),
    [(["crane", "cat"], ("crane", "cat")), (["crane", "cat", "crane"], ("crane #0", "cat", "crane #2"))],
)
def test_classes_of_one_label_are_told_apart_by_their_ids(labels: Sequence[str], expected: Sequence[str]) -> None:
    assert distinct(labels) == expected


def test_counts_become_tuples_of_integers() -> None:
    assert confusion_rows(np.array([[1, 0], [2, 3]])) == ((1, 0), (2, 3))
