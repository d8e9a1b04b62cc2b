"""Fixtures: the registered toy task, a store with models of it, and the expected picks of an image."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from service.engines import load
from service.imaging import decoder, preprocess
from service.models import cards
from service.models.cards import ModelCard
from service.tasks.base import Pixels, Task
from tests.gateway.conftest import anyio_backend, running, short_folder
from tests.stores import write_store
from tests.toy_task.task import expected_picks, registered

__all__ = ["anyio_backend", "running", "short_folder"]

CLASSIFIER, PICKER = "tiny-classifier", "tiny-picker"
SEEDS = (0, 13, 10, 15)  # of images with 2, 3, 1 and 4 picks, whose scores are far from the mean


@pytest.fixture(autouse=True)
def task() -> Iterator[Task]:
    """Register the toy task during one test, and return it."""
    with registered() as found:
        yield found


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store with two versions of a picker and a classifier, all with the same weights."""
    folder = write_store(tmp_path_factory.mktemp("store"), CLASSIFIER)
    card = (folder / CLASSIFIER / "card.toml").read_text(encoding="utf-8").replace('"classification"', '"picking"', 1)
    for version in ("1.0", "1.1"):
        name = PICKER if version == "1.1" else f"{PICKER}@{version}"
        model = folder / name
        model.mkdir()
        for path in (folder / CLASSIFIER).iterdir():
            (model / path.name).write_bytes(path.read_bytes())
        text = card.replace(f'"{CLASSIFIER}"', f'"{PICKER}"', 1).replace('version = "1.0"', f'version = "{version}"', 1)
        (model / "card.toml").write_text(text, encoding="utf-8")
    return folder


def network_input(card: ModelCard, content: bytes) -> Pixels:
    """Return the input of a model's network for an image, (size, size, 3) as uint8."""
    decoded = decoder.decode(content, decoder.ImageLimits(), needed=preprocess.needed_side(card.input))
    return preprocess.prepare(card.input, decoded.image)


def offline(store: Path, content: bytes) -> list[int]:
    """Return the picks of an image by the classifier's scores, without the service."""
    card = cards.read(store / CLASSIFIER)
    scores = load(card, "cpu")(network_input(card, content)[None])["scores"][0]
    picks: list[int] = expected_picks(scores).astype(int).tolist()
    return picks
