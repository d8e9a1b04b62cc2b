"""Model servers that serve different models: what one of them lacks is no fault of it."""

import pytest

from service.gateway.backend.replicas import Replicas
from service.gateway.backend.torchserve import TorchServe
from service.models.cards import ModelCard
from tests.gateway.backend.test_failover import Fleet, card, fakes, fleet
from tests.gateway.fixtures.fake_outputs import BATCH

__all__ = ["card", "fakes", "fleet"]

pytestmark = pytest.mark.anyio


@pytest.fixture
def apart(fleet: Fleet, card: ModelCard) -> Fleet:
    """Two servers, of which only the first has the model."""
    del fleet.fakes[1].workers[card.name]
    return fleet


def replicas_of(client: TorchServe) -> Replicas:
    return client._replicas


async def test_a_model_is_asked_only_where_it_is(apart: Fleet, card: ModelCard) -> None:
    await apart.client.workers(card)

    answers = [await apart.predict(card, number) for number in range(10)]

    assert {each.batch for each in answers} == {BATCH}
    assert apart.received == [10, 0]


async def test_a_model_whose_server_is_gone_is_not_said_to_be_refused(apart: Fleet, card: ModelCard) -> None:
    had = await apart.client.workers(card)
    first, *_ = [each for each in replicas_of(apart.client)._present if each[0] == apart.fakes[0].address]
    await replicas_of(apart.client)._present.pop(first).close()  # as when its name no longer has its address
    replicas_of(apart.client)._next_refresh = float("inf")

    gone = await apart.client.workers(card)

    assert had.ready
    assert (gone.ready, gone.refused) == (frozenset(), False)


async def test_a_model_that_every_server_has_left_out_is_refused(apart: Fleet, card: ModelCard) -> None:
    await apart.client.workers(card)
    del apart.fakes[0].workers[card.name]  # restarted at the same address, with damaged weights

    assert (await apart.client.workers(card)).refused


async def test_a_server_that_is_silent_for_long_keeps_no_model_from_being_refused(
    apart: Fleet, card: ModelCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    await apart.client.workers(card)
    apart.fakes[0].management_silent = True
    before = await apart.client.workers(card)
    monkeypatch.setattr("service.gateway.backend.refusal.ABSENCE_S", 0.0)
    apart.client._refusals.clear()

    assert not before.refused
    assert (await apart.client.workers(card)).refused
