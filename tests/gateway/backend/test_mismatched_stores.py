"""A model server whose model has other files than the gateway's card answers no caller, until it is replaced."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from service.errors import BackendUnavailable
from service.gateway.backend.torchserve import TorchServe
from service.models.cards import ModelCard
from tests.gateway.backend.test_failover import card, fakes
from tests.gateway.backend.test_torchserve import pixels, soon
from tests.gateway.fixtures.fake_outputs import BATCH
from tests.gateway.fixtures.fake_torchserve import FakeTorchServe

__all__ = ["card", "fakes"]

pytestmark = pytest.mark.anyio


@pytest.fixture
async def client(fakes: list[FakeTorchServe]) -> AsyncIterator[TorchServe]:
    made = TorchServe([fake.address for fake in fakes[:2]], identity_of=lambda _card: "ours")
    yield made
    await made.close()


async def predict(client: TorchServe, card: ModelCard, number: int = 0) -> int:
    return (await client.predict(card, pixels(number), deadline=soon(), request_id="r")).batch


@pytest.fixture
async def all_other(client: TorchServe, card: ModelCard, fakes: list[FakeTorchServe]) -> list[FakeTorchServe]:
    """Return the servers, all of which have other files."""
    for fake in fakes:
        fake.behaviour = "of_other_files"
    await client.workers(card)
    return fakes


async def refuse(client: TorchServe, card: ModelCard, number: int = 0) -> None:
    """Send an image that no server answers."""
    with pytest.raises(BackendUnavailable, match=f"has other files of {card.name} than this gateway"):
        await predict(client, card, number)


async def test_every_answer_is_of_the_server_with_the_files_of_the_gateway(
    client: TorchServe, card: ModelCard, fakes: list[FakeTorchServe]
) -> None:
    other, ours = fakes[:2]
    other.behaviour, ours.behaviour = "of_other_files", "of_our_files"
    await client.workers(card)

    answers = [await predict(client, card, number) for number in range(20)]

    assert answers == [BATCH] * 20
    assert len(other.received) <= 1, "it is asked once, and its answer is used for no caller"
    assert len(ours.received) == 20


async def test_images_of_a_batch_are_answered_by_the_other_server(
    client: TorchServe, card: ModelCard, fakes: list[FakeTorchServe]
) -> None:
    other, ours = fakes[:2]
    other.behaviour, ours.behaviour = "of_other_files", "of_our_files"

    answers = await asyncio.gather(*(predict(client, card, number) for number in range(20)))

    assert answers == [BATCH] * 20


async def test_a_server_of_an_earlier_release_which_says_nothing_is_used(
    client: TorchServe, card: ModelCard, fakes: list[FakeTorchServe]
) -> None:
    assert {await predict(client, card, number) for number in range(20)} == {BATCH}
    assert all(fake.received for fake in fakes[:2])


async def test_its_workers_are_not_ready_and_it_is_counted_and_logged_once(
    client: TorchServe, card: ModelCard, fakes: list[FakeTorchServe], caplog: pytest.LogCaptureFixture
) -> None:
    fakes[0].behaviour = "of_other_files"
    before = await client.workers(card)
    with caplog.at_level(logging.WARNING):
        for number in range(20):
            await predict(client, card, number)

    after = await client.workers(card)

    assert (len(before.ready), before.mismatched) == (2, 0)
    assert (len(after.ready), after.mismatched) == (1, 1)
    (line,) = [each.message for each in caplog.records if "has other files" in each.message]
    assert (
        line
        == f"{fakes[0].address.inference} has other files of {card.name} than this gateway, and gets no images of it"
    )


async def test_without_any_other_server_callers_learn_it_and_no_image_is_sent_again(
    client: TorchServe, card: ModelCard, all_other: list[FakeTorchServe]
) -> None:
    for number in range(5):
        await refuse(client, card, number)

    assert sum(len(fake.received) for fake in all_other) == 2
    assert (await client.workers(card)).ready == frozenset()


async def test_a_server_that_was_replaced_is_asked_again(
    client: TorchServe, card: ModelCard, all_other: list[FakeTorchServe]
) -> None:
    await refuse(client, card)

    all_other[1].behaviour, all_other[1].workers[card.name] = "of_our_files", [{"pid": 200, "status": "READY"}]
    found = await client.workers(card)

    assert (len(found.ready), found.mismatched) == (1, 1)
    assert await predict(client, card) == BATCH


@pytest.mark.usefixtures("all_other")
async def test_a_model_that_is_forgotten_is_asked_again(client: TorchServe, card: ModelCard) -> None:
    await refuse(client, card)
    await client.forget(card)

    assert (await client.workers(card)).mismatched == 0
