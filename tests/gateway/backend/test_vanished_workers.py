"""A server whose last worker is gone keeps the requests queued for that worker, and does not respond."""

import asyncio

import pytest

from service.gateway.backend.torchserve import HEDGE_SHARE
from service.models.cards import ModelCard
from tests.gateway.backend.test_failover import Fleet, card, fakes, fleet
from tests.gateway.conftest import until
from tests.gateway.fixtures.fake_outputs import BATCH

__all__ = ["card", "fakes", "fleet"]

pytestmark = pytest.mark.anyio


async def test_what_waits_for_a_worker_that_was_seen_to_be_gone_is_asked_of_another_server_at_once(
    fleet: Fleet, card: ModelCard
) -> None:
    for fake in fleet.fakes:
        fake.behaviour = "slow"
    asked = asyncio.create_task(fleet.predict(card))
    await until(lambda: sum(fake.waiting for fake in fleet.fakes) == 1, 30)
    other, hangs = sorted(fleet.fakes, key=lambda fake: fake.waiting)

    hangs.workers[card.name] = []
    other.behaviour = "answer"
    await fleet.client.workers(card)
    answer = await asyncio.wait_for(asked, HEDGE_SHARE * card.serving.deadline_s)

    assert answer.batch == BATCH
    assert fleet.retries == {"answered": 1}
