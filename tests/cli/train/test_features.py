"""Features are those that `/v1/embed` answers, and photos that cannot be used are named."""

import os
from pathlib import Path

import numpy as np
import pytest

from service.cli.train import features
from service.measure import image_file
from service.measure.pipeline import Pipeline
from service.models import cards
from service.models.cards import CardError
from service.tasks.scoring_base import Remark
from tests.cli.train.photos import COLOURS, made, write
from tests.stores import write_store


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("store"), "tiny-classifier", "tiny-segmenter")


def test_each_photo_has_the_features_of_the_served_network(shelf: Path, tmp_path: Path) -> None:
    paths = sorted(write(tmp_path, {"sea": 11, "sand": 10}).rglob("*.png"))
    (tmp_path / "sea" / "000.png").write_bytes(b"not an image")
    card = cards.read(shelf / "tiny-classifier")
    pipeline = Pipeline.load(card, operation=features.operation_of(card))
    steps: list[tuple[int, int]] = []

    found = features.extract(pipeline, [*paths, tmp_path / "missing.png"], lambda *step: steps.append(step))

    bad = paths.index(tmp_path / "sea" / "000.png")
    assert found.indices == [index for index in range(21) if index != bad]
    assert found.left_out == [
        Remark(paths[bad], "it is not a usable image: unsupported_media_type"),
        Remark(tmp_path / "missing.png", "it cannot be read: No such file or directory"),
    ]
    (alone,) = pipeline(paths[0].read_bytes())
    assert found.features[0] == pytest.approx(next(iter(alone.arrays.values())), abs=1e-3)
    assert tuple(map(sum, zip(*steps, strict=True))) == (22, 2)
    assert len(set(found.digests)) == 20


def test_a_photo_is_turned_by_its_exif_orientation(shelf: Path, tmp_path: Path) -> None:
    upright = made(COLOURS["sea"], 1, side=160)
    turned = upright.rotate(-90, expand=True)
    exif = turned.getexif()
    exif[0x0112] = 8
    upright.save(tmp_path / "0.png")
    turned.save(tmp_path / "1.png", exif=exif)
    turned.save(tmp_path / "2.png")
    card = cards.read(shelf / "tiny-classifier")
    pipeline = Pipeline.load(card, operation=features.operation_of(card))

    found = features.extract(pipeline, sorted(tmp_path.glob("*.png")), lambda *_: None)

    assert found.features[1] == pytest.approx(found.features[0], abs=1e-3)
    assert np.abs(found.features[2] - found.features[0]).max() > 0.05


def test_only_networks_with_features_can_be_trained(shelf: Path) -> None:
    card = cards.read(shelf / "tiny-classifier")
    of_timm = card.model_copy(update={"network": card.network.model_copy(update={"library": "timm"})})

    for each in (cards.read(shelf / "tiny-segmenter"), of_timm):
        with pytest.raises(CardError, match="cannot be trained; choose a classifier"):
            features.operation_of(each)


def test_a_pipe_and_a_huge_file_are_left_out(shelf: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    with (tmp_path / "b.png").open("wb") as file:
        file.truncate(image_file.MAX_BYTES + 1)
    made(COLOURS["sea"], 1).save(tmp_path / "c.png")
    card = cards.read(shelf / "tiny-classifier")
    pipeline = Pipeline.load(card, operation=features.operation_of(card))

    found = features.extract(pipeline, sorted(tmp_path.iterdir()), lambda *_: None)

    assert found.indices == [2]
    assert [each.reason for each in found.left_out] == [
        "it cannot be read: not a regular file",
        "it is not a usable image: body_too_large",
    ]


def test_a_folder_without_any_readable_image_is_refused_with_the_reasons(shelf: Path, tmp_path: Path) -> None:
    card = cards.read(shelf / "tiny-classifier")
    pipeline = Pipeline.load(card, operation=features.operation_of(card))
    with pytest.raises(CardError, match="can be read: there is none"):
        features.require_readable(pipeline, tmp_path)
    (tmp_path / "a.png").write_bytes(b"no")
    (tmp_path / "notes.txt").write_text("no image", encoding="utf-8")

    with pytest.raises(CardError, match=r"unsupported_media_type: a.png; .* not an image: notes.txt"):
        features.require_readable(pipeline, tmp_path)

    made(COLOURS["sea"], 1).save(tmp_path / "b.png")
    features.require_readable(pipeline, tmp_path)


def test_a_folder_of_broken_photos_is_an_error(shelf: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no")
    card = cards.read(shelf / "tiny-classifier")
    pipeline = Pipeline.load(card, operation=features.operation_of(card))

    with pytest.raises(CardError, match="no photo could be read: it is not a usable image"):
        features.extract(pipeline, [tmp_path / "a.png"], lambda *_: None)
    with pytest.raises(CardError, match="no photo could be read: there is none"):
        features.extract(pipeline, [], lambda *_: None)
