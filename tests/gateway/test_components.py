"""The composition root of an app."""

import asyncio
from pathlib import Path

import pytest

from service.config.api_keys import NO_QUOTA
from service.config.settings import Settings
from service.gateway.access.callers import Authenticator
from service.gateway.access.rate_limit import RateLimiter
from service.gateway.access.token_bucket import LocalTokenBuckets
from service.gateway.backend.torchserve import Workers
from service.gateway.components import Components
from service.gateway.inference.registry import ModelRegistry
from service.gateway.metrics import Metrics
from service.gateway.scheduling.background import BACKGROUND
from service.models.cards import ModelCard
from service.tasks import PREDICT, own_queue_operations, queue_name
from service.tasks.base import ModelOutput
from service.tasks.shared_image import InputImage

pytestmark = pytest.mark.anyio


def unlimited() -> RateLimiter:
    return RateLimiter(LocalTokenBuckets(), NO_QUOTA, 32)


class Silent:
    """A backend that never responds, and records whether it was closed."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.closed = False

    async def predict(
        self, card: ModelCard, image: InputImage, *, deadline: float, request_id: str, operation: str = PREDICT
    ) -> ModelOutput:
        self.asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    def shares_memory(self, card: ModelCard) -> bool:
        return False

    async def workers(self, card: ModelCard) -> Workers:
        return Workers(frozenset({1}), 1)

    async def forget(self, card: ModelCard) -> None:
        pass

    async def close(self) -> None:
        self.closed = True


async def test_it_can_be_closed_while_a_test_picture_is_under_way(store: Path, served: dict[str, ModelCard]) -> None:
    before = asyncio.all_tasks()
    settings = Settings(model_store=store)
    backend = Silent()
    components = Components(
        settings, Metrics(), ModelRegistry(served, settings), backend, Authenticator(None), unlimited()
    )
    components.start()
    await asyncio.wait_for(backend.asked.wait(), 10)

    await components.close()

    assert backend.closed
    assert asyncio.all_tasks() == before


async def test_it_can_be_closed_before_it_was_started(store: Path, served: dict[str, ModelCard]) -> None:
    settings = Settings(model_store=store)
    backend = Silent()

    await Components(
        settings, Metrics(), ModelRegistry(served, settings), backend, Authenticator(None), unlimited()
    ).close()

    assert backend.closed


async def test_the_series_of_the_models_are_there_before_their_first_picture(
    store: Path, served: dict[str, ModelCard]
) -> None:
    settings = Settings(model_store=store)
    metrics = Metrics()
    components = Components(
        settings, metrics, ModelRegistry(served, settings), Silent(), Authenticator(None), unlimited()
    )
    components.start()
    text = metrics.text().decode()
    await components.close()

    for name in served:
        assert f'resnest_images_total{{model="{name}",outcome="ok"}} 0.0' in text
        assert f'resnest_inference_in_flight{{model="{name}"}} 0.0' in text


async def test_background_work_waits_for_interactive_work_of_every_operation(
    store: Path, served: dict[str, ModelCard]
) -> None:
    settings, card = Settings(model_store=store), served["tiny-segmenter"]
    components = Components(
        settings, Metrics(), ModelRegistry(served, settings), Silent(), Authenticator(None), unlimited()
    )
    (long,) = (queue_name(card, operation.name) for operation in own_queue_operations(card))
    for interactive, background in ((card.server_name, long), (long, card.server_name)):
        end, started = asyncio.Event(), asyncio.Event()

        async def compute(started: asyncio.Event = started) -> None:
            started.set()

        queues = components.queues
        first = asyncio.create_task(queues[interactive].run(end.wait, "a"))
        await asyncio.sleep(0)
        second = asyncio.create_task(queues[background].run(compute, "bulk", urgency=BACKGROUND))
        for _ in range(8):
            await asyncio.sleep(0)
        assert not started.is_set()

        end.set()
        await asyncio.gather(first, second)
    await components.close()
