"""The starter photos: their index, the split into fit / validation / test, and decoded pictures kept in memory."""

import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

LABELS = ("cat", "dog", "daisy", "dandelion", "rose", "sunflower", "tulip")
VALIDATION_SHARE = 0.06  # of the train split; the test split decides nothing


@dataclass(frozen=True)
class Photo:
    """One row of `index.csv`; `split` is fit, validation or test, `mask` is empty where there is none."""

    path: Path
    label: str
    split: str
    mask: Path | None
    mask_kind: str

    def picture(self) -> Image.Image:
        """The decoded RGB picture."""
        with Image.open(self.path) as image:
            return image.convert("RGB")

    def mask_ids(self) -> npt.NDArray[np.uint8]:
        """`(h, w)` class ids: 0 background, 1 cat, 2 dog, 255 ignored."""
        if self.mask is None:
            raise ValueError(f"{self.path} has no mask")
        with Image.open(self.mask) as image:
            return np.array(image, dtype=np.uint8)


def read(folder: Path) -> list[Photo]:
    """Every photo of the folder's `index.csv`, in its order."""
    with (folder / "index.csv").open(newline="") as rows:
        return [_photo(folder, row) for row in csv.DictReader(rows)]


def _photo(folder: Path, row: dict[str, str]) -> Photo:
    split = row["split"]
    if split == "train":
        # By name, so that a picture stays on its side whatever else is in the index.
        digest = hashlib.sha256(row["image"].encode()).digest()
        split = "validation" if int.from_bytes(digest[:4], "big") / 2**32 < VALIDATION_SHARE else "fit"
    mask = folder / row["mask"] if row["mask"] else None
    return Photo(folder / row["image"], row["label"], split, mask, row["mask_kind"])
