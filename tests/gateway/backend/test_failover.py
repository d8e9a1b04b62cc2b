"""Several real model servers, some of them faulty: no caller sees a failure while another server can answer."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from service.config.settings import ServerAddress
from service.errors import BackendBadResponse, BackendUnavailable, DeadlineExceeded, Overloaded
from service.gateway.backend.torchserve import HEDGE_SHARE, TorchServe
from service.models.cards import ModelCard
from service.tasks.base import ModelOutput
from tests.gateway.backend.test_torchserve import FAULTS, pixels, soon
from tests.gateway.conftest import until
from tests.gateway.fixtures.fake_outputs import BATCH
from tests.gateway.fixtures.fake_torchserve import FakeTorchServe

pytestmark = pytest.mark.anyio

# Errors that the worker returns for an image: another worker would return the same.
WORKER_ERRORS = {"says_internal", "says_unknown", "says_corrupt", "says_late"}


class Fleet:
    """Several fakes, and a client of all of them."""

    def __init__(self, fakes: Sequence[FakeTorchServe]) -> None:
        self.fakes = fakes
        self.retries: Counter[str] = Counter()
        self.client = TorchServe([fake.address for fake in fakes], self._count)

    def _count(self, _model: str, outcome: str) -> None:
        self.retries[outcome] += 1

    async def predict(self, card: ModelCard, number: int = 0, seconds: float = 30) -> ModelOutput:
        return await self.client.predict(card, pixels(number), deadline=soon(seconds), request_id=f"r{number}")

    @property
    def received(self) -> list[int]:
        return [len(fake.received) for fake in self.fakes]


@pytest.fixture
def card(served: dict[str, ModelCard]) -> ModelCard:
    return served["tiny-classifier"]


@pytest.fixture
def quickly_hedged(card: ModelCard) -> ModelCard:
    """A model whose requests are hedged after 0.1 s."""
    return card.model_copy(update={"serving": card.serving.model_copy(update={"deadline_s": 0.1 / HEDGE_SHARE})})


@pytest.fixture
async def fakes(short_folder: Path, served: dict[str, ModelCard]) -> AsyncIterator[list[FakeTorchServe]]:
    made = []
    async with AsyncExitStack() as stack:
        for number in range(3):
            folder = short_folder / str(number)
            folder.mkdir()
            made.append(await stack.enter_async_context(FakeTorchServe(folder, served).serving()))
        yield made


@pytest.fixture
async def fleet(fakes: list[FakeTorchServe]) -> AsyncIterator[Fleet]:
    made = Fleet(fakes[:2])
    yield made
    await made.client.close()


@pytest.mark.parametrize("fault", sorted(set(FAULTS) - WORKER_ERRORS))
async def test_a_request_that_one_server_fails_is_answered_by_another(
    fault: str, fleet: Fleet, card: ModelCard
) -> None:
    fleet.fakes[0].behaviour = fault

    answers = [await fleet.predict(card, number) for number in range(20)]

    assert [answer.batch for answer in answers] == [BATCH] * 20
    assert fleet.retries == {"answered": fleet.received[0]}
    assert fleet.received[1] == 20
    assert 0 < fleet.received[0] < 20


@pytest.mark.parametrize("fault", sorted(WORKER_ERRORS))
async def test_what_the_model_says_of_a_picture_is_asked_of_no_other(fault: str, fleet: Fleet, card: ModelCard) -> None:
    for fake in fleet.fakes:
        fake.behaviour = fault
    error, _ = FAULTS[fault]

    for number in range(5):
        with pytest.raises(error):
            await fleet.predict(card, number)

    assert sum(fleet.received) == 5
    assert not fleet.retries
    assert (await fleet.client.workers(card)).circuits == {"closed": 2}


async def test_a_server_that_fails_every_request_is_left_alone_and_comes_back_by_itself(
    fleet: Fleet, card: ModelCard
) -> None:
    fleet.fakes[0].behaviour = "worker_died"
    await until(lambda: send_until_open(fleet, card), 30)
    failed = fleet.received[0]
    await fleet.predict(card)
    assert fleet.received[0] == failed, "an open circuit lets nothing through"

    fleet.fakes[0].behaviour = "answer"

    async def closed() -> bool:
        await fleet.predict(card)
        return (await fleet.client.workers(card)).circuits == {"closed": 2}

    await until(closed, 30)
    assert fleet.received[0] > failed


async def send_until_open(fleet: Fleet, card: ModelCard) -> bool:
    await fleet.predict(card)
    return (await fleet.client.workers(card)).circuits == {"closed": 1, "open": 1}


async def test_a_full_queue_says_nothing_against_a_server(fleet: Fleet, card: ModelCard) -> None:
    for fake in fleet.fakes:
        fake.behaviour = "queue_full"

    for number in range(5):
        with pytest.raises(Overloaded):
            await fleet.predict(card, number)

    assert fleet.received == [5, 5]
    assert (await fleet.client.workers(card)).circuits == {"closed": 2}


@pytest.mark.parametrize(
    ("fault", "error"), [("worker_died", BackendUnavailable), ("nonsense", BackendBadResponse), ("reset", None)]
)
async def test_a_request_is_sent_twice_at_most(
    fault: str, error: type[Exception] | None, fakes: list[FakeTorchServe], card: ModelCard
) -> None:
    fleet = Fleet(fakes)
    for fake in fakes:
        fake.behaviour = fault

    with pytest.raises(error or BackendUnavailable):
        await fleet.predict(card)

    assert sum(fleet.received) == 2
    assert fleet.retries == {"failed": 1}
    await fleet.client.close()


async def test_a_server_that_hangs_loses_nothing_but_time(fleet: Fleet, quickly_hedged: ModelCard) -> None:
    fleet.fakes[0].behaviour = "slow"

    answers = [await fleet.predict(quickly_hedged, number) for number in range(20)]

    assert [answer.batch for answer in answers] == [BATCH] * 20
    assert (await fleet.client.workers(quickly_hedged)).circuits["open"] == 1


async def test_the_slower_of_two_answers_is_good_where_it_is_the_only_one(
    fleet: Fleet, quickly_hedged: ModelCard
) -> None:
    slow, wrong = fleet.fakes
    slow.behaviour, wrong.behaviour = "slow", "nonsense"
    received = asyncio.create_task(fleet.predict(quickly_hedged))
    await until(lambda: slow.waiting and wrong.received, 30)
    slow.release.set()

    assert (await received).batch == BATCH


async def test_a_deadline_that_the_caller_made_too_short_says_nothing_against_a_server(
    fleet: Fleet, card: ModelCard
) -> None:
    for fake in fleet.fakes:
        fake.behaviour = "slow"

    for number in range(10):
        with pytest.raises(DeadlineExceeded):
            await fleet.predict(card, number, seconds=0.02)

    assert (await fleet.client.workers(card)).circuits == {"closed": 2}
    assert not fleet.retries


async def test_servers_where_nothing_listens_are_passed_by(fakes: list[FakeTorchServe], card: ModelCard) -> None:
    absent = [ServerAddress(f"unix:/nowhere/{number}", f"unix:/nowhere/{number}m") for number in range(4)]
    client = TorchServe([*absent, fakes[0].address])

    for number in range(60):  # chance decides when each was asked once
        answer = await client.predict(card, pixels(number), deadline=soon(), request_id="r")
        assert answer.batch == BATCH

    assert (await client.workers(card)).circuits["closed"] == 1
    await client.close()


async def test_workers_are_those_of_all_servers_that_can_be_asked(fakes: list[FakeTorchServe], card: ModelCard) -> None:
    absent = ServerAddress("unix:/nowhere/a", "unix:/nowhere/b")
    client = TorchServe([absent, *(fake.address for fake in fakes)])
    del fakes[1].workers[card.name]
    fakes[2].workers[card.name] = [{"pid": 100, "status": "READY"}, {"pid": 101, "status": "UNLOADED"}]

    seen = await client.workers(card)

    assert len(seen.ready) == 2, "processes of one number on two hosts are two"
    assert seen.configured == 2
    await client.close()


@asynccontextmanager
async def loaded(client: TorchServe, card: ModelCard) -> AsyncIterator[Counter[int]]:
    """Yield the count of answers by batch size, from eight busy callers, with a worker check every 10 ms."""
    answers: Counter[int] = Counter()
    stop = asyncio.Event()

    async def call(seed: int) -> None:
        while not stop.is_set():
            answer = await client.predict(card, pixels(seed), deadline=soon(30), request_id="r")
            answers[answer.batch] += 1

    async def check() -> None:
        while not stop.is_set():
            await client.workers(card)
            await asyncio.sleep(0.01)

    tasks = [asyncio.create_task(call(seed)) for seed in range(8)] + [asyncio.create_task(check())]
    try:
        yield answers
    finally:
        stop.set()
        await asyncio.gather(*tasks)


async def test_a_rolling_restart_under_load_loses_nothing(
    short_folder: Path, served: dict[str, ModelCard], card: ModelCard
) -> None:
    """Each server in turn aborts its work, refuses connections, comes back without a worker, and then gets one."""
    made = [FakeTorchServe(short_folder, served) for _ in range(3)]
    async with AsyncExitStack() as stack:
        stacks = [await stack.enter_async_context(AsyncExitStack()) for _ in made]
        places = [
            await each.enter_async_context(fake.listening("127.0.0.1")) for fake, each in zip(made, stacks, strict=True)
        ]
        client = TorchServe(places)
        stack.push_async_callback(client.close)
        async with loaded(client, card) as answers:
            for fake, listener, place in zip(made, stacks, places, strict=True):
                await answered(answers, 30)
                await listener.aclose()
                await answered(answers, 30)
                fake.workers[card.name], fake.behaviour = [], "not_registered"
                await listener.enter_async_context(fake.listening("127.0.0.1", int(place.inference.rpartition(":")[2])))
                await answered(answers, 30)
                fake.workers[card.name], fake.behaviour = [{"pid": 200, "status": "READY"}], "answer"
            await answered(answers, 30)

    assert set(answers) == {BATCH}


async def answered(answers: Counter[int], more: int) -> None:
    """Wait for so many more answers."""
    before = answers.total()
    await until(lambda: answers.total() >= before + more, 60)


async def test_new_addresses_of_a_name_get_requests_and_former_ones_none(
    short_folder: Path, served: dict[str, ModelCard], card: ModelCard
) -> None:
    addresses = ["127.0.0.2"]

    async def resolve(_host: str) -> list[str]:
        return addresses

    first, second = (FakeTorchServe(short_folder, served) for _ in range(2))
    async with first.listening("127.0.0.2") as place:
        port = place.inference.rpartition(":")[2]
        url = f"http://workers.example:{port}"
        async with second.listening("127.0.0.3", int(port)):
            client = TorchServe([ServerAddress(url, url)], resolve=resolve, resolve_interval_s=0)
            for number in range(10):
                await client.predict(card, pixels(number), deadline=soon(), request_id="r")
            assert (len(first.received), len(second.received)) == (10, 0)

            addresses[:] = ["127.0.0.3"]
            await client.workers(card)
            for number in range(10):
                await client.predict(card, pixels(number), deadline=soon(), request_id="r")
            assert (len(first.received), len(second.received)) == (10, 10)
            await client.close()
