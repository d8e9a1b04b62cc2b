"""Model servers that will stop get no further requests, before a name service no longer lists them."""

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from service.gateway.backend.torchserve import TorchServe
from service.models.cards import ModelCard
from tests.gateway.backend.test_torchserve import pixels, soon
from tests.gateway.fixtures.fake_torchserve import FakeTorchServe

pytestmark = pytest.mark.anyio


async def test_a_server_that_will_stop_answers_once_more_and_then_gets_no_request(
    short_folder: Path, card: ModelCard
) -> None:
    async with AsyncExitStack() as stack:
        fakes = []
        for number in range(2):
            (short_folder / str(number)).mkdir()
            fake = FakeTorchServe(short_folder / str(number), {card.name: card})
            fakes.append(await stack.enter_async_context(fake.serving()))
        first, second = fakes
        client = TorchServe([fake.address for fake in fakes])
        first.behaviour = "drains"

        for number in range(20):
            await client.predict(card, pixels(number), deadline=soon(), request_id="r")
        await client.close()

    assert len(first.received) <= 1
    assert len(first.received) + len(second.received) == 20
