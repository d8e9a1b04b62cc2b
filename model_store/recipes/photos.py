"""The starter photos: their index, and the split into fit, validation and test."""

import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

LABELS = ("cat", "dog", "daisy", "dandelion", "rose", "sunflower", "tulip")
VALIDATION_SHARE = 0.06  # of the train split; no choice depends on the test split


@dataclass(frozen=True)
class Photo:
    """One row of `index.csv`. `split` is "fit", "validation" or "test"."""

    path: Path
    label: str
    split: str
    mask: Path | None
    mask_kind: str

    def image(self) -> Image.Image:
        """Return the decoded RGB image."""
        with Image.open(self.path) as image:
            return image.convert("RGB")

    def mask_ids(self) -> npt.NDArray[np.uint8]:
        """Return `(h, w)` class ids: 0 background, 1 cat, 2 dog, 255 ignored. Raises `ValueError` without a mask."""
        if self.mask is None:
            raise ValueError(f"{self.path} has no mask")
        with Image.open(self.mask) as image:
            return np.array(image, dtype=np.uint8)


def read(folder: Path) -> list[Photo]:
    """Return every photo of the folder's `index.csv`, in order."""
    with (folder / "index.csv").open(newline="") as rows:
        return [_photo(folder, row) for row in csv.DictReader(rows)]


def _photo(folder: Path, row: dict[str, str]) -> Photo:
    split = row["split"]
    if split == "train":
        # By a hash of the name, so that the split of a photo does not depend on the other rows.
        digest = hashlib.sha256(row["image"].encode()).digest()
        split = "validation" if int.from_bytes(digest[:4], "big") / 2**32 < VALIDATION_SHARE else "fit"
    mask = folder / row["mask"] if row["mask"] else None
    return Photo(folder / row["image"], row["label"], split, mask, row["mask_kind"])
