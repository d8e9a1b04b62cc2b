"""What a training reads and keeps in memory. `test_train_command.py` runs whole trainings."""

from pathlib import Path

import numpy as np
import pytest

from service.cli.train import features, training_run
from service.measure.pipeline import Pipeline
from service.models import cards
from service.models.cards import CardError
from tests.cli.train.photos import COLOURS, made
from tests.stores import write_store


@pytest.mark.parametrize(("side", "kept"), [(400, 120), (100, 100)], ids=["large", "small"])
def test_a_photo_in_memory_is_as_large_as_random_crops_need(side: int, kept: int, tmp_path: Path) -> None:
    card = cards.read(write_store(tmp_path / "store", "tiny-classifier") / "tiny-classifier")
    pipeline = Pipeline.load(card, operation=features.operation_of(card))
    image = made(COLOURS["sea"], 1, side)
    image.save(tmp_path / "sea.png")

    found = training_run.decoded(pipeline, tmp_path / "sea.png")

    assert found.size == (kept, kept)
    difference = np.asarray(found, np.int16) - np.asarray(image.resize((kept, kept)), np.int16)
    assert np.abs(difference).mean() < 3


def test_photos_that_do_not_fit_the_memory_are_refused_with_both_figures(tmp_path: Path) -> None:
    card = cards.read(write_store(tmp_path / "store", "tiny-classifier") / "tiny-classifier")
    pipeline = Pipeline.load(card, operation=features.operation_of(card))
    made(COLOURS["sea"], 1, 400).save(tmp_path / "sea.png")
    (tmp_path / "broken.png").write_bytes(b"no")
    photos = [tmp_path / "broken.png", *[tmp_path / "sea.png"] * 999]
    needed = 1000 * 4 * 120 * 120

    training_run.require_memory(pipeline, photos, needed)
    with pytest.raises(CardError, match=r"1000 photos take 58 MB, and 57 MB are available; use fewer photos"):
        training_run.require_memory(pipeline, photos, needed - 600_000)
