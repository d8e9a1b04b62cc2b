"""The photos that are held out: near copies are on one side, and a label that only has copies is refused."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps

from service.cli.train import features, labelled_photos, training_set
from service.cli.train.training_set import TrainingSet
from service.measure.pipeline import Pipeline
from service.models import cards
from service.models.cards import CardError
from tests.cli.train.photos import write
from tests.stores import write_store


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    card = cards.read(write_store(tmp_path_factory.mktemp("store"), "tiny-classifier") / "tiny-classifier")
    return Pipeline.load(card, operation=features.operation_of(card))


def prepared(folder: Path, pipeline: Pipeline, said: list[str], *, keeps_copies: bool = False) -> TrainingSet:
    labelled = labelled_photos.read(folder, "")
    return training_set.prepare(labelled, pipeline, 5, 0, said.append, keeps_copies=keeps_copies)


def test_a_mirrored_and_compressed_copy_is_on_the_side_of_its_original(tmp_path: Path, pipeline: Pipeline) -> None:
    folder = write(tmp_path, {"sea": 20, "brick": 20})
    for path in sorted((folder / "sea").iterdir()):
        with Image.open(path) as opened:
            ImageOps.mirror(opened).save(path.with_suffix(".jpg"), quality=70)
    said: list[str] = []

    found = prepared(folder, pipeline, said)

    sides: dict[str, set[bool]] = {}
    for image, held_out in zip(found.images, found.held_out.tolist(), strict=True):
        sides.setdefault(f"{image.label}/{image.path.stem}", set()).add(held_out)
    assert len(found.images) == 60
    assert all(len(both) == 1 for both in sides.values())
    assert found.counts(found.held_out) == {"brick": 4, "sea": 8}
    near, way_out = (line for line in said if line.startswith("Near copies"))
    first, second = found.near_copies["sea"]["example"]
    assert near == f"Near copies: 20 of 40 photos of sea look like another one, such as {first} and {second}"
    assert first.removesuffix(".jpg") == second.removesuffix(".png")
    assert found.near_copies == {"sea": {"merged": 20, "example": [first, second]}}
    assert "--keep-near-copies" in way_out


def drawings(folder: Path) -> Path:
    """Write drawings of a circle on a flat background, whose position is all that differs, and photos."""
    write(folder, {"sea": 12})
    (folder / "circle").mkdir()
    for number in range(12):
        image = Image.new("RGB", (144, 144), "white")
        ImageDraw.Draw(image).ellipse((10 * number, 60, 10 * number + 20, 80), fill="black")
        image.save(folder / "circle" / f"{number:03}.png")
    return folder


def test_drawings_that_only_look_alike_can_be_counted_as_different_photos(tmp_path: Path, pipeline: Pipeline) -> None:
    folder, said = drawings(tmp_path), list[str]()

    with pytest.raises(CardError, match=r"circle has \d+ and needs \d+ more.* count them all with --keep-near-copies$"):
        prepared(folder, pipeline, said)
    found = prepared(folder, pipeline, said, keeps_copies=True)

    assert any("photos of circle look like another one, such as circle/" in line for line in said)
    assert found.counts(found.held_out)["circle"] == 3
    assert found.near_copies == {}
    assert "the held-out accuracy is too high" in said[-1]


def test_every_photo_that_is_not_held_out_is_in_a_fold(tmp_path: Path, pipeline: Pipeline) -> None:
    found = prepared(write(tmp_path, {"sea": 10, "brick": 13}), pipeline, [])

    assert found.counts(found.held_out) == {"brick": 3, "sea": 2}
    assert set(found.folds[~found.held_out].tolist()) == set(range(training_set.FOLDS))
    assert set(found.folds[found.held_out].tolist()) == {-1}
    assert len(found.chosen(found.held_out)) == 5
    assert np.isfinite(found.features).all()


def test_labels_whose_photos_are_copies_of_each_others_are_refused(tmp_path: Path, pipeline: Pipeline) -> None:
    folder = write(tmp_path, {"sea": 1, "brick": 1, "sand": 12})
    for label in ("sea", "brick"):
        with Image.open(folder / label / "000.png") as image:
            for number in range(20):
                image.crop((0, 0, 80, 80 - number % 2)).save(folder / label / f"{number:03}.jpg", quality=60 + number)

    said: list[str] = []
    with pytest.raises(CardError, match=r"sea has 1 and needs 9 more"):
        prepared(folder, pipeline, said)
    assert any(line.startswith("Near copies: 20 of 21 photos of sea look like another one") for line in said)


def test_near_copies_in_the_folders_of_two_labels_are_named(tmp_path: Path, pipeline: Pipeline) -> None:
    folder, said = write(tmp_path, {"sea": 15, "brick": 15}), list[str]()
    with Image.open(folder / "sea" / "003.png") as opened:
        opened.save(folder / "brick" / "copy.jpg", quality=70)

    prepared(folder, pipeline, said)

    line = "Near copies: 2 photos look like one of another label, such as brick/copy.jpg and sea/003.png"
    assert line in said
