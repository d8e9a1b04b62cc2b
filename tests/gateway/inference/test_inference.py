"""Pictures and models without HTTP: every answer in its place, and no place kept."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from service.errors import BackendUnavailable, DeadlineExceeded, ImageCorrupt, Overloaded, ServiceError
from service.gateway.backend.torchserve import Workers
from service.gateway.inference.inference import Inference, Result
from service.gateway.metrics import Metrics
from service.gateway.scheduling.admission import Admission
from service.gateway.scheduling.fair_queue import FairQueue
from service.gateway.scheduling.request_terms import RequestTerms
from service.gateway.uploads.body import Upload
from service.gateway.uploads.decode_queue import DecodeQueue
from service.gateway.uploads.pool_worker import ProcessLimits
from service.gateway.uploads.process_pool import ProcessPool
from service.imaging import decoder
from service.models.cards import ModelCard
from service.tasks import PREDICT
from service.tasks.base import ModelOutput, Pixels
from tests.gateway.conftest import until
from tests.gateway.fixtures import hostile_work
from tests.gateway.fixtures.pictures import CORRUPT, picture

pytestmark = pytest.mark.anyio

ANYBODY = RequestTerms()


@dataclass
class Model:
    """A backend that answers with the mean of the picture, fails where told to, and waits where told to."""

    fails: dict[str, ServiceError] = field(default_factory=dict)
    go: asyncio.Event | None = None
    waiting: int = 0
    deadlines: list[float] = field(default_factory=list)

    async def predict(
        self, card: ModelCard, image: Pixels, *, deadline: float, request_id: str, operation: str = PREDICT
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
        return ModelOutput({"scores": np.array([image.mean()], np.float32)}, 1, 0.25, 0.5)

    async def workers(self, card: ModelCard) -> Workers:
        return Workers(frozenset({1}), 1)

    async def close(self) -> None:
        pass


class House:
    """The parts that an `Inference` is made of, and what it doubted."""

    def __init__(self, models: Iterable[str], places: int = 8, turns: int = 8) -> None:
        self.model = Model()
        self.metrics = Metrics()
        self.admission = Admission(places, self.metrics.inference_in_flight)
        self.turns = {model: FairQueue(lambda: turns) for model in models}
        self.processes = ProcessPool(2, ProcessLimits(memory=1 << 28, cpu_s=10))
        self.decoders = DecodeQueue(self.processes, self.processes, decoder.ImageLimits())
        self.doubts = 0
        self.inference = Inference(self.model, self.admission, self.turns, self.decoders, self.metrics, self.doubt)

    async def run(
        self, uploads: Sequence[Upload], cards: Sequence[ModelCard], terms: RequestTerms = ANYBODY
    ) -> list[Result]:
        return await self.inference.run(uploads, cards, "r", terms)

    def doubt(self) -> None:
        self.doubts += 1

    async def close(self) -> None:
        for turns in self.turns.values():
            await turns.close()
        await self.processes.close()


@pytest.fixture
async def house(served: dict[str, ModelCard]) -> AsyncIterator[House]:
    made = House(served)
    yield made
    await made.close()


@pytest.fixture
def cards(served: dict[str, ModelCard]) -> list[ModelCard]:
    return [served["tiny-classifier"], served["tiny-classifier-b"]]


def mean(result: Result, place: int = 0) -> float:
    answer = result.answers[place]
    assert isinstance(answer, ModelOutput)
    return float(answer.arrays["scores"][0])


async def test_results_are_in_the_order_of_the_uploads(house: House, cards: list[ModelCard]) -> None:
    uploads = [Upload(picture(seed)) for seed in range(6)]

    together = await house.run(uploads, cards)
    alone = [(await house.run([upload], cards))[0] for upload in uploads]

    assert [result.upload for result in together] == uploads
    assert [mean(result) for result in together] == [mean(result) for result in alone]
    assert len({mean(result) for result in together}) == 6


async def test_an_upload_that_failed_already_fails_with_that(house: House, cards: list[ModelCard]) -> None:
    error = ImageCorrupt("cut off")

    bad, good = await house.run([Upload(error), Upload(picture())], cards)

    assert bad.failure is error
    assert good.failure is None


async def test_a_picture_fails_as_a_whole_only_if_every_model_fails(house: House, cards: list[ModelCard]) -> None:
    house.model.fails["tiny-classifier"] = Overloaded("full")
    (half,) = await house.run([Upload(picture())], cards)
    house.model.fails["tiny-classifier-b"] = Overloaded("full too")
    (whole,) = await house.run([Upload(picture())], cards)

    assert half.failure is None
    assert whole.failure is house.model.fails["tiny-classifier"]


async def test_the_lack_of_a_worker_is_doubted_aloud(house: House, cards: list[ModelCard]) -> None:
    house.model.fails["tiny-classifier"] = BackendUnavailable("dead")
    await house.run([Upload(picture())], cards)
    house.model.fails["tiny-classifier"] = Overloaded("full")
    await house.run([Upload(picture()), Upload(CORRUPT)], cards)

    assert house.doubts == 1


async def test_the_deadline_is_the_cards_from_the_start_on(house: House, served: dict[str, ModelCard]) -> None:
    now = asyncio.get_running_loop().time()

    await house.run([Upload(picture())], [served["tiny-classifier"]])

    (deadline,) = house.model.deadlines
    assert deadline == pytest.approx(now + served["tiny-classifier"].serving.deadline_s, abs=0.5)


async def test_a_picture_that_finds_no_process_before_its_deadline_is_late(
    house: House, served: dict[str, ModelCard]
) -> None:
    card = served["tiny-classifier"]
    hasty = card.model_copy(update={"serving": card.serving.model_copy(update={"deadline_s": 0.05})})
    held = [asyncio.create_task(house.processes.run(hostile_work.nap, 0.5)) for _ in range(2)]
    await asyncio.sleep(0)

    (result,) = await house.run([Upload(picture())], [hasty])
    await asyncio.gather(*held)

    assert isinstance(result.failure, DeadlineExceeded)


async def test_a_request_that_does_not_fit_as_a_whole_is_refused_before_any_work(
    house: House, cards: list[ModelCard]
) -> None:
    with pytest.raises(Overloaded):
        await house.run([Upload(picture())] * 9, cards)

    assert house.model.deadlines == []


async def test_a_cancelled_request_gives_its_places_back(house: House, cards: list[ModelCard]) -> None:
    house.model.go = asyncio.Event()
    task = asyncio.create_task(house.run([Upload(picture())] * 8, cards))
    await until(lambda: house.model.waiting == 16)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    house.admission.check(cards, RequestTerms(), 8)


async def test_a_caller_that_leaves_takes_its_waiting_pictures_along(served: dict[str, ModelCard]) -> None:
    house, card = House(served, turns=2), served["tiny-classifier"]
    house.model.go = asyncio.Event()
    task = asyncio.create_task(house.run([Upload(picture(seed)) for seed in range(8)], [card]))
    await until(lambda: house.model.waiting == 2)
    await until(lambda: decoded(house) == 8)

    task.cancel()
    await asyncio.wait([task])
    house.model.go.set()
    await house.run([Upload(picture())], [card])

    assert len(house.model.deadlines) == 3
    await house.close()


def decoded(house: House) -> float:
    return sum(
        sample.value
        for family in house.metrics.stages.collect()
        for sample in family.samples
        if sample.name.endswith("_count") and sample.labels["stage"] == "decode"
    )


async def test_a_picture_whose_turn_does_not_come_in_time_is_late_and_never_asked(
    served: dict[str, ModelCard],
) -> None:
    house, card = House(served, turns=1), served["tiny-classifier"]
    house.model.go = asyncio.Event()
    held = asyncio.create_task(house.run([Upload(picture())], [card]))
    await until(lambda: house.model.waiting == 1)
    end = asyncio.get_running_loop().time() + 0.3

    (result,) = await house.run([Upload(picture())], [card], RequestTerms("other", end=end))
    house.model.go.set()
    await held
    await house.run([Upload(picture())], [card])

    assert isinstance(result.failure, DeadlineExceeded)
    assert len(house.model.deadlines) == 2
    await house.close()


async def test_the_end_that_a_request_asks_for_is_the_models_deadline(house: House, cards: list[ModelCard]) -> None:
    end = asyncio.get_running_loop().time() + 30

    await house.run([Upload(picture())], cards, RequestTerms(end=end))

    assert house.model.deadlines == [end, end]


async def test_the_wait_for_a_turn_is_part_of_the_queue(served: dict[str, ModelCard]) -> None:
    house, card = House(served, turns=1), served["tiny-classifier"]
    house.model.go = asyncio.Event()
    held = asyncio.create_task(house.run([Upload(picture())], [card]))
    await until(lambda: house.model.waiting == 1)
    late = asyncio.create_task(house.run([Upload(picture())], [card]))
    await until(lambda: decoded(house) == 2)
    asyncio.get_running_loop().call_later(0.5, house.model.go.set)

    (result,) = await late
    await held

    assert result.stages["queue"] + result.stages["inference"] > 0.4
    await house.close()


async def test_the_slowest_model_gives_the_stages_their_times(house: House, cards: list[ModelCard]) -> None:
    (result,) = await house.run([Upload(picture())], cards)

    assert result.stages["inference"] == 0.25
    assert result.stages["queue"] >= 0
    assert result.stages["decode"] > 0
