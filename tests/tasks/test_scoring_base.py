"""The ground truth with which the outputs of every task are compared."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from service.models.cards import CardError
from service.tasks.scoring_base import Dataset, LabelledImage, confusion_rows


def test_a_mask_that_is_none_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (2, 2), "red").save(tmp_path / "colours.png")
    Image.new("RGBA", (2, 2)).save(tmp_path / "hidden.png")
    Image.fromarray(np.array([[300, 2]], np.uint16)).save(tmp_path / "large.png")
    (tmp_path / "text.png").write_text("not an image", encoding="utf-8")
    for name, message in (
        ("colours", "is RGB, but a mask is an indexed"),
        ("hidden", "is RGBA, but a mask is"),
        ("large", r"is I;16, .* with values to 255"),
        ("text", "cannot be read"),
        ("no", "cannot be"),
    ):
        with pytest.raises(CardError, match=message):
            LabelledImage(tmp_path / "a.jpg", mask=tmp_path / f"{name}.png").class_ids()
    with pytest.raises(CardError, match="has no mask"):
        LabelledImage(tmp_path / "a.jpg").class_ids()


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA", "I;16"])
def test_a_grey_mask_has_its_values_however_many_channels_it_is_stored_with(tmp_path: Path, mode: str) -> None:
    values = np.array([[0, 1, 0]] if mode == "1" else [[0, 7, 255]], np.uint8)
    drawn = Image.fromarray(values * 255 if mode == "1" else values)
    drawn.convert(mode).save(tmp_path / "a.png")
    assert LabelledImage(tmp_path / "a.jpg", mask=tmp_path / "a.png").class_ids().tolist() == values.tolist()


def test_only_images_with_the_truth_are_used_and_one_is_needed(tmp_path: Path) -> None:
    images = (LabelledImage(tmp_path / "a", "cat"), LabelledImage(tmp_path / "b"))
    dataset = Dataset(tmp_path, "folders", images)
    assert dataset.with_truth(lambda image: image.label, "label", "m") == [images[0]]
    with pytest.raises(CardError, match="has no image with a mask for m"):
        dataset.with_truth(lambda image: image.mask, "mask", "m")


def test_counts_become_tuples_of_integers() -> None:
    assert confusion_rows(np.array([[1, 0], [2, 3]])) == ((1, 0), (2, 3))
