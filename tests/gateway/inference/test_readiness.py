"""Readiness: every model has a ready worker, and a worker has answered a probe."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import numpy as np
import pytest

from service.errors import BackendUnavailable, Overloaded, ServiceError
from service.gateway.backend.torchserve import Workers
from service.gateway.inference.readiness import Readiness
from service.gateway.metrics import Metrics
from service.models.cards import ModelCard
from service.tasks import PREDICT
from service.tasks.base import ModelOutput
from service.tasks.shared_image import InputImage
from tests.gateway.conftest import until

pytestmark = pytest.mark.anyio

MODEL = "tiny-classifier"


@dataclass
class Model:
    """A backend of one model, whose workers and results the tests set."""

    pids: set[int] = field(default_factory=lambda: {1})
    fails_with: ServiceError | None = None
    unreachable: bool = False
    broken: bool = False
    images: list[InputImage] = field(default_factory=list)

    async def predict(
        self, card: ModelCard, image: InputImage, *, deadline: float, request_id: str, operation: str = PREDICT
    ) -> ModelOutput:
        self.images.append(image)
        if self.fails_with is not None:
            raise self.fails_with
        return ModelOutput({}, 1, 0.0, 0.0)

    def shares_memory(self, card: ModelCard) -> bool:
        return False

    async def workers(self, card: ModelCard) -> Workers:
        if self.unreachable:
            raise BackendUnavailable("gone")
        if self.broken:
            raise ZeroDivisionError
        return Workers(frozenset(self.pids), 1)

    async def forget(self, card: ModelCard) -> None:
        pass

    async def close(self) -> None:
        pass


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
async def readiness(model: Model, served: dict[str, ModelCard]) -> AsyncIterator[Readiness]:
    metrics = Metrics()
    made = Readiness([served[MODEL]], model, metrics, interval_s=600, probe_interval_s=600)
    yield made
    await made.close()


async def poll(readiness: Readiness) -> bool:
    """Poll once, wait for the probes, and return whether the models are ready."""
    await readiness.poll()
    await readiness.wait_for_probes()
    return readiness.ready


@pytest.mark.parametrize(
    ("pids", "fails_with", "ready", "state"),
    [
        ({1}, None, True, "ready"),
        ({1, 2}, None, True, "ready"),
        (set(), None, False, "loading"),
        ({1}, BackendUnavailable("dead"), False, "loading"),
        ({1}, Overloaded("full"), False, "loading"),
        (set(), BackendUnavailable("dead"), False, "loading"),
    ],
)
async def test_it_takes_a_ready_worker_and_an_answer(
    pids: set[int],
    fails_with: ServiceError | None,
    ready: bool,  # noqa: FBT001
    state: str,
    model: Model,
    readiness: Readiness,
) -> None:
    model.pids, model.fails_with = pids, fails_with

    assert await poll(readiness) is ready
    assert readiness.state(MODEL) == state


async def test_nothing_is_ready_before_the_first_look(readiness: Readiness) -> None:
    assert not readiness.ready


async def test_a_worker_without_an_answer_yet_is_not_ready(readiness: Readiness) -> None:
    await readiness.poll()

    assert not readiness.ready
    await readiness.wait_for_probes()
    assert readiness.ready


async def test_it_is_unavailable_when_the_last_worker_is_gone_and_ready_when_one_is_back_and_answers(
    model: Model, readiness: Readiness
) -> None:
    assert await poll(readiness)

    model.pids = set()
    assert not await poll(readiness)
    assert readiness.state(MODEL) == "unavailable"

    model.pids, model.fails_with = {2}, BackendUnavailable("still loading")
    assert not await poll(readiness)

    model.fails_with = None
    assert await poll(readiness)


async def test_a_defect_in_looking_is_not_ready_and_does_not_end_the_watch(
    model: Model, readiness: Readiness, caplog: pytest.LogCaptureFixture
) -> None:
    assert await poll(readiness)

    model.broken = True
    assert not await poll(readiness)
    assert "ZeroDivisionError" in caplog.text

    model.broken = False
    assert await poll(readiness)


async def test_a_new_worker_is_not_ready_for_the_old_ones_answer(model: Model, readiness: Readiness) -> None:
    assert await poll(readiness)

    model.pids = {2}
    await readiness.poll()

    assert not readiness.ready


async def test_a_worker_that_stays_keeps_it_ready_while_another_comes_or_goes(
    model: Model, readiness: Readiness
) -> None:
    model.pids = {1, 2}
    assert await poll(readiness)

    model.pids = {2, 3}
    await readiness.poll()
    assert readiness.ready
    await readiness.wait_for_probes()
    assert len(model.images) == 2


async def test_a_failing_test_picture_takes_readiness_away(model: Model, readiness: Readiness) -> None:
    assert await poll(readiness)

    model.pids, model.fails_with = {1, 2}, BackendUnavailable("nonsense")

    assert not await poll(readiness)


async def test_a_full_queue_takes_readiness_away_from_nobody(model: Model, readiness: Readiness) -> None:
    assert await poll(readiness)

    model.pids, model.fails_with = {1, 2}, Overloaded("full")

    assert await poll(readiness)


async def test_a_door_that_cannot_be_reached_means_no_workers(model: Model, readiness: Readiness) -> None:
    assert await poll(readiness)

    model.unreachable = True

    assert not await poll(readiness)


async def test_the_test_picture_is_the_same_each_time_and_as_the_network_takes_it(
    model: Model, readiness: Readiness, served: dict[str, ModelCard]
) -> None:
    await poll(readiness)
    model.pids = {2}
    await poll(readiness)

    first, second = model.images
    side = served[MODEL].input.size
    assert isinstance(first, np.ndarray)
    assert isinstance(second, np.ndarray)
    assert first.shape == (side, side, 3)
    assert np.array_equal(first, second)
    assert first.std() > 30


async def test_a_segmenters_test_picture_is_small_and_has_sides_that_it_takes(
    model: Model, served: dict[str, ModelCard]
) -> None:
    card = served["tiny-segmenter"]
    large = card.input.model_copy(update={"size": 2048, "short": 1024, "multiple": 16})
    readiness = Readiness([card.model_copy(update={"input": large})], model, Metrics(), 600, 600)
    await poll(readiness)

    (image,) = model.images
    assert image.shape == (256, 256, 3)


async def test_a_test_picture_that_was_answered_is_not_sent_again_before_its_time(
    model: Model, readiness: Readiness
) -> None:
    for _ in range(5):
        await poll(readiness)

    assert len(model.images) == 1


async def test_a_test_picture_is_due_again_after_its_time(model: Model, served: dict[str, ModelCard]) -> None:
    readiness = Readiness([served[MODEL]], model, Metrics(), interval_s=600, probe_interval_s=0)

    for _ in range(3):
        await poll(readiness)

    assert len(model.images) == 3


async def test_a_doubt_is_looked_into_at_once(model: Model, readiness: Readiness) -> None:
    poller = asyncio.create_task(readiness.run())
    try:
        await until(lambda: readiness.ready)
        model.pids = set()
        readiness.recheck()
        await until(lambda: not readiness.ready)
    finally:
        poller.cancel()


async def test_one_ready_model_is_enough_unless_all_are_required(served: dict[str, ModelCard]) -> None:
    class Half(Model):
        async def workers(self, card: ModelCard) -> Workers:
            return Workers(frozenset({1} if card.name == MODEL else ()), 1)

    readiness = Readiness(served.values(), Half(), Metrics(), interval_s=600, probe_interval_s=600)

    assert await poll(readiness)
    assert readiness.is_ready("any")
    assert not readiness.is_ready("all")
    assert [name for name in served if readiness.state(name) == "ready"] == [MODEL]
