"""Pictures and models without HTTP: every answer in its place, and no place kept."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import numpy as np
import pytest

from service import images
from service.cards import ModelCard
from service.errors import BackendUnavailable, DeadlineExceeded, ImageCorrupt, Overloaded, ServiceError
from service.gateway.admission import Admission
from service.gateway.backend import Answer, Pixels, Workers
from service.gateway.decoding import Pool
from service.gateway.inference import Inference, Result
from service.gateway.metrics import Metrics
from service.gateway.uploads import Upload
from tests.gateway.conftest import until
from tests.gateway.pictures import CORRUPT, picture

pytestmark = pytest.mark.anyio


@dataclass
class Model:
    """A backend that answers with the mean of the picture, fails where told to, and waits where told to."""

    fails: dict[str, ServiceError] = field(default_factory=dict)
    go: asyncio.Event | None = None
    waiting: int = 0
    deadlines: list[float] = field(default_factory=list)

    async def predict(self, card: ModelCard, picture: Pixels, *, deadline: float, request_id: str) -> Answer:
        self.deadlines.append(deadline)
        if card.name in self.fails:
            raise self.fails[card.name]
        if self.go is not None:
            self.waiting += 1
            try:
                await self.go.wait()
            finally:
                self.waiting -= 1
        return Answer({"scores": np.array([picture.mean()], np.float32)}, 1, 0.25, 0.5)

    async def workers(self, card: ModelCard) -> Workers:
        return Workers(frozenset({1}), 1)

    async def close(self) -> None:
        pass


class House:
    """The parts that an `Inference` is made of, and what it doubted."""

    def __init__(self, places: int = 8) -> None:
        self.model = Model()
        self.metrics = Metrics()
        self.admission = Admission(places, self.metrics.inference_in_flight)
        self.pool = Pool(2, "test")
        self.doubts = 0
        self.inference = Inference(self.model, self.admission, images.Limits(), self.pool, self.metrics, self.doubt)

    def doubt(self) -> None:
        self.doubts += 1


@pytest.fixture
async def house() -> AsyncIterator[House]:
    made = House()
    yield made
    made.pool.close()


@pytest.fixture
def cards(served: dict[str, ModelCard]) -> list[ModelCard]:
    return [served["tiny-classifier"], served["tiny-classifier-b"]]


def mean(result: Result, place: int = 0) -> float:
    answer = result.answers[place]
    assert isinstance(answer, Answer)
    return float(answer.arrays["scores"][0])


async def test_results_are_in_the_order_of_the_uploads(house: House, cards: list[ModelCard]) -> None:
    uploads = [Upload(picture(seed)) for seed in range(6)]

    together = await house.inference.run(uploads, cards, "r")
    alone = [(await house.inference.run([upload], cards, "r"))[0] for upload in uploads]

    assert [result.upload for result in together] == uploads
    assert [mean(result) for result in together] == [mean(result) for result in alone]
    assert len({mean(result) for result in together}) == 6


async def test_an_upload_that_failed_already_fails_with_that(house: House, cards: list[ModelCard]) -> None:
    error = ImageCorrupt("cut off")

    bad, good = await house.inference.run([Upload(error), Upload(picture())], cards, "r")

    assert bad.failure is error
    assert good.failure is None


async def test_a_picture_fails_as_a_whole_only_if_every_model_fails(house: House, cards: list[ModelCard]) -> None:
    house.model.fails["tiny-classifier"] = Overloaded("full")
    (half,) = await house.inference.run([Upload(picture())], cards, "r")
    house.model.fails["tiny-classifier-b"] = Overloaded("full too")
    (whole,) = await house.inference.run([Upload(picture())], cards, "r")

    assert half.failure is None
    assert whole.failure is house.model.fails["tiny-classifier"]


async def test_the_lack_of_a_worker_is_doubted_aloud(house: House, cards: list[ModelCard]) -> None:
    house.model.fails["tiny-classifier"] = BackendUnavailable("dead")
    await house.inference.run([Upload(picture())], cards, "r")
    house.model.fails["tiny-classifier"] = Overloaded("full")
    await house.inference.run([Upload(picture()), Upload(CORRUPT)], cards, "r")

    assert house.doubts == 1


async def test_the_deadline_is_the_cards_from_the_start_on(house: House, served: dict[str, ModelCard]) -> None:
    now = asyncio.get_running_loop().time()

    await house.inference.run([Upload(picture())], [served["tiny-classifier"]], "r")

    (deadline,) = house.model.deadlines
    assert deadline == pytest.approx(now + served["tiny-classifier"].serving.deadline_s, abs=0.5)


async def test_a_picture_that_finds_no_thread_before_its_deadline_is_late(
    house: House, served: dict[str, ModelCard]
) -> None:
    card = served["tiny-classifier"]
    hasty = card.model_copy(update={"serving": card.serving.model_copy(update={"deadline_s": 0.05})})
    release = asyncio.Event()
    loop = asyncio.get_running_loop()
    held = [
        asyncio.create_task(house.pool.run(lambda: asyncio.run_coroutine_threadsafe(release.wait(), loop).result()))
        for _ in range(2)
    ]

    (result,) = await house.inference.run([Upload(picture())], [hasty], "r")
    release.set()
    await asyncio.gather(*held)

    assert isinstance(result.failure, DeadlineExceeded)


async def test_a_request_that_does_not_fit_as_a_whole_is_refused_before_any_work(
    house: House, cards: list[ModelCard]
) -> None:
    with pytest.raises(Overloaded):
        await house.inference.run([Upload(picture())] * 9, cards, "r")

    assert house.model.deadlines == []


async def test_a_cancelled_request_gives_its_places_back(house: House, cards: list[ModelCard]) -> None:
    house.model.go = asyncio.Event()
    task = asyncio.create_task(house.inference.run([Upload(picture())] * 8, cards, "r"))
    await until(lambda: house.model.waiting == 16)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert house.model.waiting == 0
    house.admission.check([card.name for card in cards], 8)


async def test_the_slowest_model_gives_the_stages_their_times(house: House, cards: list[ModelCard]) -> None:
    (result,) = await house.inference.run([Upload(picture())], cards, "r")

    assert (result.stages["queue"], result.stages["inference"]) == (0.5, 0.25)
    assert result.stages["decode"] > 0
