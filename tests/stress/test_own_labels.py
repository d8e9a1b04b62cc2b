"""200 photos of flowers, and how right the model that they make is about photos that it never saw."""

import csv
import json
import re
import shutil
from pathlib import Path

import pytest

from service.models import cards
from tests.e2e.test_own_models import call

ROOT = Path(__file__).parents[2]
PHOTOS = ROOT.parent / "shared" / "data" / "starter-photos"
FLOWERS = ("daisy", "dandelion", "rose", "sunflower", "tulip")
EACH = 40

pytestmark = [
    pytest.mark.stress,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not PHOTOS.exists(), reason="the starter photos are not here"),
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with 200 of the photos on which the starter models were not trained, and the others of them."""
    folder = tmp_path_factory.mktemp("flowers")
    counts = dict.fromkeys(FLOWERS, 0)
    with (PHOTOS / "index.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["label"] in counts and row["split"] == "test":
                counts[row["label"]] += 1
                part = "photos" if counts[row["label"]] <= EACH else "others"
                target = folder / part / row["label"] / Path(row["image"]).name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.symlink_to(PHOTOS / row["image"])
    shutil.copytree(ROOT / "model_store" / "starter-classifier", folder / "store" / "starter-classifier")
    return folder


def accuracy(folders: Path, name: str) -> float:
    report = call("evaluate", name, str(folders / "others"), "--store", str(folders / "store"), "--format", "json")
    (model,) = json.loads(report)["models"]
    assert model["images"] > 500
    return float(model["top1"])


@pytest.mark.parametrize(("name", "words"), [("layer", ()), ("stage", ("--finetune",))])
def test_200_photos_of_flowers_make_a_model_that_is_right_about_others(
    folders: Path, name: str, words: tuple[str, ...]
) -> None:
    base = ("--from", "starter-classifier", "--store", str(folders / "store"))
    said = call("train", str(folders / "photos"), *base, "--name", name, *words)
    card = cards.read(folders / "store" / name)

    assert re.search(r"Held-out accuracy: .* of 40 photos", said)
    low, _ = card.measured["top1_interval"]
    assert accuracy(folders, name) >= max(low, 0.83)
