"""Tests of the throughput of a model without serving."""

from pathlib import Path
from threading import Event

import numpy as np
import pytest

from service.config.cores import THREADS
from service.engines import Images
from service.errors import ImageCorrupt
from service.measure.limit import throughput
from service.measure.load import corpus
from service.measure.pipeline import Pipeline
from service.models import cards
from service.models.cards import ModelCard
from service.tasks.torch_head import BatchArrays
from tests.edges import edges

WAIT_S = 30.0


@pytest.fixture
def two_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(THREADS, "2")


@pytest.mark.parametrize("model", edges(["tiny-classifier", "tiny-segmenter"], "tiny-classifier"))
@pytest.mark.usefixtures("two_threads")
def test_the_limit_is_measured_in_full_batches_by_the_better_arrangement(store: Path, model: str) -> None:
    card = cards.read(store / model)
    uploads = [each.content for each in corpus.make([(96, 64), (64, 96)], per_size=2)]
    found = throughput.measure(card, uploads, seconds=0.3, warm_up_s=0.1, processes=1, lone=5)
    assert found.model == model
    assert [(each.engines, each.threads) for each in found.arrangements] == [(1, 2), (2, 1)]
    assert found.images_per_s == max(each.images_per_s for each in found.arrangements)
    for each in found.arrangements:
        assert each.images >= found.batch_size * each.engines
        assert each.images % found.batch_size == 0
    decode, infer, both = found.decode_ms["p50"], found.infer_ms["p50"], found.lone_ms["p50"]
    assert decode is not None and infer is not None and both is not None  # noqa: PT018
    assert 0 < max(decode, infer) < both


@pytest.mark.usefixtures("two_threads")
def test_two_engines_run_batches_at_the_same_time(store: Path) -> None:
    """An engine that waits for another one in its forward pass can only end if both run."""
    card = cards.read(store / "tiny-classifier")
    running: list[str] = []
    both = Event()

    def load(each: ModelCard) -> Pipeline:
        def engine(images: Images) -> BatchArrays:
            if each.serving.threads == 1 and len(images) == card.serving.batch_size:
                running.append(each.name)
                if len(running) == 2:
                    both.set()
                assert both.wait(WAIT_S), "the second engine waits for the first one"
            return {"scores": np.zeros((len(images), 1), np.float32)}

        return Pipeline(each, engine)

    uploads = [each.content for each in corpus.make([(96, 64)], per_size=2)]
    found = throughput.measure(card, uploads, seconds=0.1, warm_up_s=0, processes=1, lone=1, load=load)
    assert found.arrangements[1].engines == 2


def test_a_model_of_one_thread_is_measured_with_one_engine(store: Path) -> None:
    card = cards.read(store / "tiny-classifier")
    alone = card.model_copy(update={"serving": card.serving.model_copy(update={"threads": 1})})
    assert [engines for engines, _ in throughput.arrangements(alone)] == [1]


def test_an_upload_that_is_no_image_is_reported(store: Path) -> None:
    (whole,) = corpus.make([(96, 64)], per_size=1)
    with pytest.raises(ImageCorrupt):
        throughput.measure(
            cards.read(store / "tiny-classifier"),
            [whole.content[:300]],
            seconds=0.1,
            warm_up_s=0,
            processes=1,
            lone=1,
        )
