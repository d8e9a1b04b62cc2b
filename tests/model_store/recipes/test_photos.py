"""The index of the starter photos and its splits."""

from pathlib import Path

import numpy as np
import photos
import pytest

from tests.model_store.recipes.conftest import LABELS, TEST, TRAIN


def test_every_row_of_the_index_is_a_photo(photos_folder: Path) -> None:
    rows = photos.read(photos_folder)

    assert len(rows) == sum(TRAIN.values()) + sum(TEST.values())
    assert photos.LABELS == LABELS
    assert rows[0].image().size == (24, 20)
    assert rows[0].image().mode == "RGB"


def test_a_share_of_the_train_photos_is_held_out_by_name_and_the_test_photos_stay_apart(photos_folder: Path) -> None:
    rows = photos.read(photos_folder)
    count = {split: sum(row.split == split for row in rows) for split in ("fit", "validation", "test")}

    assert count["test"] == sum(TEST.values())
    assert count["fit"] + count["validation"] == sum(TRAIN.values())
    assert 0.03 < count["validation"] / (count["fit"] + count["validation"]) < 0.1


def test_a_photo_stays_on_its_side_whatever_else_is_in_the_index(photos_folder: Path, tmp_path: Path) -> None:
    whole = {row.path.name: row.split for row in photos.read(photos_folder)}
    header, *lines = (photos_folder / "index.csv").read_text().splitlines()
    (tmp_path / "index.csv").write_text("\n".join([header, *reversed(lines[::3])]))

    assert {row.path.name: row.split for row in photos.read(tmp_path)}.items() <= whole.items()


def test_a_mask_is_class_ids(photos_folder: Path) -> None:
    dog = next(row for row in photos.read(photos_folder) if row.label == "dog")

    assert set(np.unique(dog.mask_ids())) == {0, 2, 255}
    assert dog.mask_kind == "trimap"


def test_a_photo_without_a_mask_says_so(photos_folder: Path) -> None:
    rose = next(row for row in photos.read(photos_folder) if row.label == "rose")

    with pytest.raises(ValueError, match=r"rose-train-0\.png has no mask"):
        rose.mask_ids()
