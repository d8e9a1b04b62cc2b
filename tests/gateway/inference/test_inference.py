"""Inference without HTTP: results in the order of the uploads, deadlines, and slots that are released."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from service.errors import BackendUnavailable, DeadlineExceeded, ImageCorrupt, Overloaded, ServiceError
from service.gateway.backend.torchserve import Workers
from service.gateway.inference.inference import Inference
from service.gateway.inference.result import Result
from service.gateway.metrics import Metrics
from service.gateway.scheduling.admission import Admission
from service.gateway.scheduling.model_queue import ModelQueue
from service.gateway.scheduling.request_terms import RequestTerms
from service.gateway.uploads.decode_queue import DecodeQueue
from service.gateway.uploads.parsers.image_bodies import Upload
from service.gateway.uploads.pool_worker import ProcessLimits
from service.gateway.uploads.process_pool import ProcessPool
from service.imaging import decoder
from service.models.cards import ModelCard
from service.tasks import PREDICT
from service.tasks.base import ModelOutput
from service.tasks.shared_image import InputImage
from tests.gateway.conftest import until
from tests.gateway.fixtures import hostile_work
from tests.gateway.fixtures.images import CORRUPT, image_bytes

pytestmark = pytest.mark.anyio

DEFAULT_TERMS = RequestTerms()


@dataclass
class Model:
    """A backend that returns the mean of the image. It fails for the models in `fails`, and waits for `go`."""

    fails: dict[str, ServiceError] = field(default_factory=dict)
    go: asyncio.Event | None = None
    waiting: int = 0
    deadlines: list[float] = field(default_factory=list)

    async def predict(
        self, card: ModelCard, image: InputImage, *, deadline: float, request_id: str, operation: str = PREDICT
    ) -> ModelOutput:
        self.deadlines.append(deadline)
        if card.name in self.fails:
            raise self.fails[card.name]
        if self.go is not None:
            self.waiting += 1
            try:
                await self.go.wait()
            finally:
                self.waiting -= 1
        assert isinstance(image, np.ndarray)
        return ModelOutput({"scores": np.array([image.mean()], np.float32)}, 1, 0.25, 0.5)

    def shares_memory(self, card: ModelCard) -> bool:
        return False

    async def workers(self, card: ModelCard) -> Workers:
        return Workers(frozenset({1}), 1)

    async def forget(self, card: ModelCard) -> None:
        pass

    async def close(self) -> None:
        pass


class Harness:
    """An `Inference` with its parts; it counts the requests to check the workers again."""

    def __init__(self, models: Iterable[str], slots: int = 8, model_slots: int = 8) -> None:
        self.model = Model()
        self.metrics = Metrics()
        self.admission = Admission(slots, self.metrics.inference_in_flight)
        self.queues = {model: ModelQueue(lambda: model_slots) for model in models}
        self.processes = ProcessPool(2, ProcessLimits(memory=1 << 28, cpu_s=10))
        self.decode_queue = DecodeQueue(self.processes, self.processes, decoder.ImageLimits())
        self.rechecks = 0
        self.inference = Inference(
            self.model, self.admission, self.queues, self.decode_queue, self.metrics, self.recheck
        )

    async def run(
        self, uploads: Sequence[Upload], cards: Sequence[ModelCard], terms: RequestTerms = DEFAULT_TERMS
    ) -> list[Result]:
        return await self.inference.run(uploads, cards, "r", terms)

    def recheck(self) -> None:
        self.rechecks += 1

    async def close(self) -> None:
        for queue in self.queues.values():
            await queue.close()
        await self.processes.close()


@pytest.fixture
async def harness(served: dict[str, ModelCard]) -> AsyncIterator[Harness]:
    made = Harness(served)
    yield made
    await made.close()


@pytest.fixture
def cards(served: dict[str, ModelCard]) -> list[ModelCard]:
    return [served["tiny-classifier"], served["tiny-classifier-b"]]


def mean(result: Result) -> float:
    output = result.outputs[0]
    assert isinstance(output, ModelOutput)
    return float(output.arrays["scores"][0])


async def test_results_are_in_the_order_of_the_uploads(harness: Harness, cards: list[ModelCard]) -> None:
    uploads = [Upload(image_bytes(seed)) for seed in range(6)]

    together = await harness.run(uploads, cards)
    alone = [(await harness.run([upload], cards))[0] for upload in uploads]

    assert [result.upload for result in together] == uploads
    assert [mean(result) for result in together] == [mean(result) for result in alone]
    assert len({mean(result) for result in together}) == 6


async def test_an_upload_that_failed_already_fails_with_that(harness: Harness, cards: list[ModelCard]) -> None:
    error = ImageCorrupt("cut off")

    bad, good = await harness.run([Upload(error), Upload(image_bytes())], cards)

    assert bad.failure is error
    assert good.failure is None


async def test_a_picture_fails_as_a_whole_only_if_every_model_fails(harness: Harness, cards: list[ModelCard]) -> None:
    harness.model.fails["tiny-classifier"] = Overloaded("full")
    (half,) = await harness.run([Upload(image_bytes())], cards)
    harness.model.fails["tiny-classifier-b"] = Overloaded("full too")
    (whole,) = await harness.run([Upload(image_bytes())], cards)

    assert half.failure is None
    assert whole.failure is harness.model.fails["tiny-classifier"]


async def test_the_lack_of_a_worker_is_doubted_aloud(harness: Harness, cards: list[ModelCard]) -> None:
    harness.model.fails["tiny-classifier"] = BackendUnavailable("dead")
    await harness.run([Upload(image_bytes())], cards)
    harness.model.fails["tiny-classifier"] = Overloaded("full")
    await harness.run([Upload(image_bytes()), Upload(CORRUPT)], cards)

    assert harness.rechecks == 1


async def test_the_deadline_is_the_cards_from_the_start_on(harness: Harness, served: dict[str, ModelCard]) -> None:
    now = asyncio.get_running_loop().time()

    await harness.run([Upload(image_bytes())], [served["tiny-classifier"]])

    (deadline,) = harness.model.deadlines
    assert deadline == pytest.approx(now + served["tiny-classifier"].serving.deadline_s, abs=0.5)


async def test_a_picture_that_finds_no_process_before_its_deadline_is_late(
    harness: Harness, served: dict[str, ModelCard]
) -> None:
    card = served["tiny-classifier"]
    hasty = card.model_copy(update={"serving": card.serving.model_copy(update={"deadline_s": 0.05})})
    held = [asyncio.create_task(harness.processes.run(hostile_work.nap, 0.5)) for _ in range(2)]
    await asyncio.sleep(0)

    (result,) = await harness.run([Upload(image_bytes())], [hasty])
    await asyncio.gather(*held)

    assert isinstance(result.failure, DeadlineExceeded)


async def test_a_request_that_does_not_fit_as_a_whole_is_refused_before_any_work(
    harness: Harness, cards: list[ModelCard]
) -> None:
    with pytest.raises(Overloaded):
        await harness.run([Upload(image_bytes())] * 9, cards)

    assert harness.model.deadlines == []


async def test_a_cancelled_request_gives_its_places_back(harness: Harness, cards: list[ModelCard]) -> None:
    harness.model.go = asyncio.Event()
    task = asyncio.create_task(harness.run([Upload(image_bytes())] * 8, cards))
    await until(lambda: harness.model.waiting == 16)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    harness.admission.check(cards, RequestTerms(), 8)


async def test_a_caller_that_leaves_takes_its_waiting_pictures_along(served: dict[str, ModelCard]) -> None:
    harness, card = Harness(served, model_slots=2), served["tiny-classifier"]
    harness.model.go = asyncio.Event()
    task = asyncio.create_task(harness.run([Upload(image_bytes(seed)) for seed in range(8)], [card]))
    await until(lambda: harness.model.waiting == 2)
    await until(lambda: decoded(harness) == 8)

    task.cancel()
    await asyncio.wait([task])
    harness.model.go.set()
    await harness.run([Upload(image_bytes())], [card])

    assert len(harness.model.deadlines) == 3
    await harness.close()


def decoded(harness: Harness) -> float:
    return sum(
        sample.value
        for family in harness.metrics.stages.collect()
        for sample in family.samples
        if sample.name.endswith("_count") and sample.labels["stage"] == "decode"
    )


async def test_a_picture_whose_turn_does_not_come_in_time_is_late_and_never_asked(
    served: dict[str, ModelCard],
) -> None:
    harness, card = Harness(served, model_slots=1), served["tiny-classifier"]
    harness.model.go = asyncio.Event()
    held = asyncio.create_task(harness.run([Upload(image_bytes())], [card]))
    await until(lambda: harness.model.waiting == 1)
    end = asyncio.get_running_loop().time() + 0.3

    (result,) = await harness.run([Upload(image_bytes())], [card], RequestTerms("other", end=end))
    harness.model.go.set()
    await held
    await harness.run([Upload(image_bytes())], [card])

    assert isinstance(result.failure, DeadlineExceeded)
    assert len(harness.model.deadlines) == 2
    await harness.close()


async def test_the_end_that_a_request_asks_for_is_the_models_deadline(harness: Harness, cards: list[ModelCard]) -> None:
    end = asyncio.get_running_loop().time() + 30

    await harness.run([Upload(image_bytes())], cards, RequestTerms(end=end))

    assert harness.model.deadlines == [end, end]


async def test_the_wait_for_a_turn_is_part_of_the_queue(served: dict[str, ModelCard]) -> None:
    harness, card = Harness(served, model_slots=1), served["tiny-classifier"]
    harness.model.go = asyncio.Event()
    held = asyncio.create_task(harness.run([Upload(image_bytes())], [card]))
    await until(lambda: harness.model.waiting == 1)
    late = asyncio.create_task(harness.run([Upload(image_bytes())], [card]))
    await until(lambda: decoded(harness) == 2)
    asyncio.get_running_loop().call_later(0.5, harness.model.go.set)

    (result,) = await late
    await held

    assert result.stages["queue"] + result.stages["inference"] > 0.4
    await harness.close()


async def test_the_slowest_model_gives_the_stages_their_times(harness: Harness, cards: list[ModelCard]) -> None:
    (result,) = await harness.run([Upload(image_bytes())], cards)

    assert result.stages["inference"] == 0.25
    assert result.stages["queue"] >= 0
    assert result.stages["decode"] > 0
