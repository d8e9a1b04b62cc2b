"""The TorchServe client, against a real server that fails in every way TorchServe can."""

import asyncio
import time
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from aiohttp import web

from service.config.settings import ServerAddress
from service.errors import (
    BackendBadResponse,
    BackendUnavailable,
    DeadlineExceeded,
    ImageCorrupt,
    Internal,
    Overloaded,
    ServiceError,
)
from service.gateway.backend.torchserve import MAX_STATUS_TIMEOUTS, TorchServe
from service.models.cards import ModelCard
from service.tasks.base import ModelOutput, Pixels
from service.tasks.frame import Array
from tests.gateway.fixtures.fake_outputs import BATCH, INFERENCE_MS, expected_mask, expected_scores
from tests.gateway.fixtures.fake_torchserve import FakeTorchServe

pytestmark = pytest.mark.anyio

# By fault of TorchServe: the error that the caller gets, and how often the request was sent.
FAULTS: dict[str, tuple[type[ServiceError], int]] = {
    "queue_full": (Overloaded, 1),
    "prediction_failed": (BackendBadResponse, 1),
    "worker_died": (BackendUnavailable, 2),
    "out_of_memory": (BackendUnavailable, 2),
    "not_registered": (BackendUnavailable, 1),
    "too_large": (BackendBadResponse, 1),
    "redirect": (BackendBadResponse, 1),
    "reset": (BackendUnavailable, 2),
    "cut": (BackendUnavailable, 2),
    "not_http": (BackendBadResponse, 1),
    "nonsense": (BackendBadResponse, 1),
    "empty": (BackendBadResponse, 1),
    "says_internal": (Internal, 1),
    "says_unknown": (BackendBadResponse, 1),
    "says_corrupt": (ImageCorrupt, 1),
    "says_late": (DeadlineExceeded, 1),
    "wrong_length": (BackendBadResponse, 1),
    "wider": (BackendBadResponse, 1),
    "not_a_number": (BackendBadResponse, 1),
    "negative_time": (BackendBadResponse, 1),
    "no_batch": (BackendBadResponse, 1),
}

BROKEN = ["worker_died", "out_of_memory", "reset", "cut"]


def pixels(seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (64, 64, 3), dtype=np.uint8)


def soon(seconds: float = 5) -> float:
    return asyncio.get_running_loop().time() + seconds


def scores_of(answer: ModelOutput, card: ModelCard) -> Array:
    return answer.arrays["scores" if card.task == "classification" else "class_scores"]


async def test_an_answer_is_the_one_to_its_picture(torchserve: TorchServe, card: ModelCard) -> None:
    answers = await asyncio.gather(
        *(torchserve.predict(card, pixels(seed), deadline=soon(), request_id=f"r{seed}") for seed in range(20))
    )

    for seed, answer in enumerate(answers):
        assert np.array_equal(scores_of(answer, card), expected_scores(card, pixels(seed)))
        if card.task == "segmentation":
            assert np.array_equal(answer.arrays["mask"], expected_mask(card, pixels(seed)))


async def test_an_answer_says_its_batch_and_where_its_time_went(torchserve: TorchServe, card: ModelCard) -> None:
    answer = await torchserve.predict(card, pixels(), deadline=soon(), request_id="r")

    assert answer.batch == BATCH
    assert answer.inference_s == pytest.approx(INFERENCE_MS / 1000)
    assert answer.queue_s >= 0


async def test_the_request_id_goes_to_the_worker(torchserve: TorchServe, card: ModelCard, fake: FakeTorchServe) -> None:
    await torchserve.predict(card, pixels(), deadline=soon(), request_id="abc-1")

    assert fake.received == [(card.name, "abc-1")]


async def test_the_worker_is_told_from_when_on_nobody_waits(
    torchserve: TorchServe, card: ModelCard, fake: FakeTorchServe
) -> None:
    await torchserve.predict(card, pixels(), deadline=soon(7), request_id="r")

    (expires,) = fake.expires
    assert expires == pytest.approx(time.time() + 7, abs=2)


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_of_the_model_server_is_told_as(
    fault: str, torchserve: TorchServe, card: ModelCard, fake: FakeTorchServe
) -> None:
    error, times = FAULTS[fault]
    fake.behaviour = fault

    with pytest.raises(error) as raised:
        await torchserve.predict(card, pixels(), deadline=soon(), request_id="r")

    assert type(raised.value) is error
    assert len(fake.received) == times


async def test_what_the_worker_says_of_our_own_errors_is_not_told(
    torchserve: TorchServe, card: ModelCard, fake: FakeTorchServe
) -> None:
    fake.behaviour = "says_internal"

    with pytest.raises(Internal) as raised:
        await torchserve.predict(card, pixels(), deadline=soon(), request_id="r")

    assert "the worker says so" not in str(raised.value.problem())


@pytest.mark.parametrize("fault", BROKEN)
async def test_a_call_that_broke_is_sent_once_more(
    fault: str, torchserve: TorchServe, card: ModelCard, fake: FakeTorchServe
) -> None:
    fake.next.append(fault)

    answer = await torchserve.predict(card, pixels(), deadline=soon(), request_id="r")

    assert answer.batch == BATCH
    assert len(fake.received) == 2


async def test_a_connection_that_the_server_closed_while_idle_costs_no_error(
    torchserve: TorchServe, card: ModelCard, fake: FakeTorchServe
) -> None:
    await torchserve.predict(card, pixels(), deadline=soon(), request_id="first")
    for transport in fake.connections:
        transport.abort()

    answer = await torchserve.predict(card, pixels(), deadline=soon(), request_id="second")

    assert answer.batch == BATCH


async def test_connections_are_used_again(torchserve: TorchServe, card: ModelCard, fake: FakeTorchServe) -> None:
    for _ in range(5):
        await torchserve.predict(card, pixels(), deadline=soon(), request_id="r")

    assert len(fake.connections) == 1


async def test_a_picture_of_more_than_a_mebibyte_is_sent_whole(torchserve: TorchServe, card: ModelCard) -> None:
    large = np.random.default_rng(1).integers(0, 256, (800, 800, 3), dtype=np.uint8)

    answer = await torchserve.predict(card, large, deadline=soon(), request_id="r")

    assert np.array_equal(scores_of(answer, card), expected_scores(card, large))


async def test_an_answer_after_the_deadline_is_not_waited_for(
    torchserve: TorchServe, card: ModelCard, fake: FakeTorchServe
) -> None:
    fake.behaviour = "slow"
    loop = asyncio.get_running_loop()
    started = loop.time()

    with pytest.raises(DeadlineExceeded):
        await torchserve.predict(card, pixels(), deadline=soon(0.2), request_id="r")

    assert 0.19 <= loop.time() - started < 30


async def test_the_second_try_has_the_same_deadline(
    torchserve: TorchServe, card: ModelCard, fake: FakeTorchServe
) -> None:
    fake.next.extend(["reset", "slow"])

    with pytest.raises(DeadlineExceeded):
        await torchserve.predict(card, pixels(), deadline=soon(0.2), request_id="r")


async def test_a_server_that_is_not_there_is_unavailable(card: ModelCard, short_folder: Path) -> None:
    absent = TorchServe([ServerAddress(f"unix:{short_folder / 'a'}", f"unix:{short_folder / 'b'}")])
    try:
        with pytest.raises(BackendUnavailable):
            await absent.predict(card, pixels(), deadline=soon(), request_id="r")
        with pytest.raises(BackendUnavailable):
            await absent.workers(card)
    finally:
        await absent.close()


async def test_the_ready_workers_are_those_that_say_so(
    torchserve: TorchServe, card: ModelCard, fake: FakeTorchServe
) -> None:
    fake.workers[card.name] = [{"pid": 7, "status": "READY"}, {"pid": 8, "status": "UNLOADING"}]

    assert await processes(torchserve, card) == {7}
    assert (await torchserve.workers(card)).configured == 1


async def test_a_model_that_is_not_registered_has_no_workers(
    torchserve: TorchServe, card: ModelCard, fake: FakeTorchServe
) -> None:
    del fake.workers[card.name]

    seen = await torchserve.workers(card)

    assert (seen.ready, seen.configured) == (frozenset(), card.serving.workers)


@pytest.mark.parametrize("answer", ["[]", "{}", "nonsense", '[{"workers": 3}]', '[{"workers": [{"pid": "x"}]}]'])
async def test_a_management_door_that_answers_nonsense_is_a_bad_response(
    answer: str, card: ModelCard, short_folder: Path
) -> None:
    async def describe(_request: web.Request) -> web.Response:
        return web.Response(text=answer)

    app = web.Application()
    app.router.add_get("/models/{model}", describe)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.UnixSite(runner, str(short_folder / "odd")).start()
    client = TorchServe([ServerAddress(f"unix:{short_folder / 'odd'}", f"unix:{short_folder / 'odd'}")])
    try:
        with pytest.raises(BackendBadResponse):
            await client.workers(card)
    finally:
        await client.close()
        await runner.cleanup()


async def test_a_door_that_is_slow_is_no_news_until_it_is_silent_for_long(
    torchserve: TorchServe, card: ModelCard, fake: FakeTorchServe
) -> None:
    assert await processes(torchserve, card) == {100}

    fake.management_silent = True
    seen = [await processes(torchserve, card) for _ in range(MAX_STATUS_TIMEOUTS)]

    assert seen == [{100}] * (MAX_STATUS_TIMEOUTS - 1) + [set()]


async def processes(torchserve: TorchServe, card: ModelCard) -> set[int]:
    """Return the ids of the ready worker processes."""
    ready = cast("frozenset[tuple[str, int]]", (await torchserve.workers(card)).ready)
    return {process for _, process in ready}


async def test_torchserve_can_be_reached_over_tcp_too(card: ModelCard, fake: FakeTorchServe) -> None:
    async with fake.listening("127.0.0.1") as place:
        client = TorchServe([place])
        try:
            answer = await client.predict(card, pixels(), deadline=soon(), request_id="r")

            assert answer.batch == BATCH
            assert await processes(client, card) == {100}
        finally:
            await client.close()
