"""Background images leave models to interactive images between all steps of a request."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from service.gateway.inference.inference import Inference
from service.gateway.inference.response_cache import ResponseCache
from service.gateway.inference.result import Result
from service.gateway.scheduling.background import BACKGROUND, BackgroundLimit
from service.gateway.scheduling.model_queue import ModelQueue
from service.gateway.scheduling.request_terms import RequestTerms
from service.gateway.uploads.parsers.image_bodies import Upload
from service.models.cards import ModelCard
from tests.gateway.conftest import until
from tests.gateway.fixtures.images import image_bytes
from tests.gateway.inference.test_inference import Harness, cards

__all__ = ["cards"]

pytestmark = pytest.mark.anyio

BULK = RequestTerms("bulk", BACKGROUND)


@pytest.fixture
async def limited(served: dict[str, ModelCard]) -> AsyncIterator[Harness]:
    """Return a harness whose queues limit background work."""
    made = Harness(served)
    made.queues.update(
        {name: ModelQueue(lambda: 8, background=BackgroundLimit(lambda: 1, lambda: 8)) for name in served}
    )
    yield made
    await made.close()


async def test_none_starts_between_the_decoding_and_the_queues_of_several_models(
    limited: Harness, cards: list[ModelCard]
) -> None:
    started: list[str] = []
    queues = [limited.queues[card.server_name] for card in cards]
    await limited.run([Upload(image_bytes())], cards)  # interactive images come
    held = [queue.expect("a") for queue in queues]

    async def compute(name: str) -> None:
        started.append(name)

    bulk = [
        asyncio.create_task(queue.run(lambda name=card.name: compute(name), "bulk", urgency=BACKGROUND))  # type: ignore[misc]
        for queue, card in zip(queues, cards, strict=True)
    ]
    limited.model.go = asyncio.Event()
    interactive = asyncio.create_task(limited.run([Upload(image_bytes())], cards))
    await asyncio.sleep(0)  # it is decoded now
    for each in held:
        each.queue.expect_no_more(each)
    await until(lambda: limited.model.waiting == len(cards))
    assert started == []

    limited.model.go.set()
    await asyncio.gather(interactive, *bulk)
    assert sorted(started) == sorted(card.name for card in cards)


async def test_an_interactive_image_does_not_join_an_equal_one_that_is_held_back(
    limited: Harness, served: dict[str, ModelCard]
) -> None:
    card = served["tiny-classifier"]
    cache: ResponseCache[Result] = ResponseCache(1 << 20, limited.metrics.count_cache_lookup)
    limited.inference = Inference(
        limited.model, limited.admission, limited.queues, limited.decode_queue, limited.metrics, limited.recheck, cache
    )
    queue = limited.queues[card.server_name]
    await limited.run([Upload(image_bytes(1))], [card])  # interactive images come
    held = queue.expect("a")
    bulk = asyncio.create_task(limited.run([Upload(image_bytes(2))], [card], BULK))
    await until(lambda: not queue.is_idle)

    (result,) = await asyncio.wait_for(limited.run([Upload(image_bytes(2))], [card]), 10)
    assert (result.failure, result.cache_outcome) == (None, "miss")
    assert not bulk.done()

    queue.expect_no_more(held)
    await bulk
