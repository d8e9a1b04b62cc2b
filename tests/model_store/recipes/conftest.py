"""Put the folder of the recipes on the path: they are scripts, not a package."""

import csv
import random
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.model_store.recipes.runs import RECIPES, few, run_command

sys.path.insert(0, str(RECIPES))

LABELS = ("cat", "dog", "daisy", "dandelion", "rose", "sunflower", "tulip")
TRAIN = {"cat": 40, "dog": 40} | dict.fromkeys(LABELS[2:], 90)  # with these names, a few of each are held out
TEST = dict.fromkeys(LABELS, 2)


@pytest.fixture(autouse=True)
def _seed() -> None:
    random.seed(7)


@pytest.fixture(scope="session")
def photos_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder like that of the starter photos: an index, 24x20 images of one colour per label, pet masks."""
    folder = tmp_path_factory.mktemp("photos")
    rows = []
    for label_id, label in enumerate(LABELS):
        for split, counts in (("train", TRAIN), ("test", TEST)):
            for number in range(counts[label]):
                name = f"{label}-{split}-{number}"
                Image.new("RGB", (24, 20), (30 * label_id, 200 - 20 * label_id, number)).save(folder / f"{name}.png")
                mask = f"{name}-mask.png" if label in ("cat", "dog") else ""
                if mask:
                    ids = np.zeros((20, 24), np.uint8)
                    ids[5:15, 5:15] = label_id + 1
                    ids[4, 5:15] = 255
                    Image.fromarray(ids).save(folder / mask)
                rows.append([f"{name}.png", label, split, mask, "trimap" if mask else "", 24, 20, "drawn"])
    with (folder / "index.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", "label", "split", "mask", "mask_kind", "width", "height", "source"])
        table.writerows(rows)
    return folder


@pytest.fixture(scope="session")
def few_photos(photos_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a few photos of each split, because an epoch with all of them takes 12 s."""
    return few(photos_folder, tmp_path_factory.mktemp("few") / "photos", fit=4, validation=2)


@pytest.fixture(scope="session")
def classifier_run(few_photos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Return the folder after one epoch of the classifier's recipe, and its output."""
    out = tmp_path_factory.mktemp("classifier")
    return out, run_command("train_classifier", photos=few_photos, out=out, epochs=1, batch=16, workers=0)
