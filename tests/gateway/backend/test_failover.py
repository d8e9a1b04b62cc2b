"""Several real model servers, of which some misbehave: nobody who asks is told while another one can answer."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from service.config.settings import ServerAddress
from service.errors import BackendBadResponse, BackendUnavailable, DeadlineExceeded, Overloaded
from service.gateway.backend.torchserve import PATIENCE, Answer, TorchServe
from service.models.cards import ModelCard
from tests.gateway.backend.test_torchserve import FAULTS, pixels, soon
from tests.gateway.conftest import until
from tests.gateway.fixtures.fake_torchserve import BATCH, FakeTorchServe

pytestmark = pytest.mark.anyio

# What the worker says of a picture is its answer: another one would say the same.
WORDS = {"says_internal", "says_unknown", "says_corrupt", "says_late"}


class Fleet:
    """Fakes side by side, and a client of all of them."""

    def __init__(self, fakes: Sequence[FakeTorchServe]) -> None:
        self.fakes = fakes
        self.second_tries: Counter[str] = Counter()
        self.client = TorchServe([fake.place for fake in fakes], self._count)

    def _count(self, _model: str, outcome: str) -> None:
        self.second_tries[outcome] += 1

    async def ask(self, card: ModelCard, number: int = 0, seconds: float = 30) -> Answer:
        return await self.client.predict(card, pixels(number), deadline=soon(seconds), request_id=f"r{number}")

    @property
    def asked(self) -> list[int]:
        return [len(fake.asked) for fake in self.fakes]


@pytest.fixture
def card(served: dict[str, ModelCard]) -> ModelCard:
    return served["tiny-classifier"]


@pytest.fixture
def impatient(card: ModelCard) -> ModelCard:
    """A model whose servers are held for hung after a tenth of a second."""
    return card.model_copy(update={"serving": card.serving.model_copy(update={"deadline_s": 0.1 / PATIENCE})})


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


@pytest.mark.parametrize("fault", sorted(set(FAULTS) - WORDS))
async def test_a_request_that_one_server_fails_is_answered_by_another(
    fault: str, fleet: Fleet, card: ModelCard
) -> None:
    fleet.fakes[0].behaviour = fault

    answers = [await fleet.ask(card, number) for number in range(20)]

    assert [answer.batch for answer in answers] == [BATCH] * 20
    assert fleet.second_tries == {"answered": fleet.asked[0]}
    assert fleet.asked[1] == 20
    assert 0 < fleet.asked[0] < 20


@pytest.mark.parametrize("fault", sorted(WORDS))
async def test_what_the_model_says_of_a_picture_is_asked_of_no_other(fault: str, fleet: Fleet, card: ModelCard) -> None:
    for fake in fleet.fakes:
        fake.behaviour = fault
    error, _ = FAULTS[fault]

    for number in range(5):
        with pytest.raises(error):
            await fleet.ask(card, number)

    assert sum(fleet.asked) == 5
    assert not fleet.second_tries
    assert (await fleet.client.workers(card)).circuits == {"closed": 2}


async def test_a_server_that_fails_every_request_is_left_alone_and_comes_back_by_itself(
    fleet: Fleet, card: ModelCard
) -> None:
    fleet.fakes[0].behaviour = "worker_died"
    await until(lambda: ask_until_open(fleet, card), 30)
    failed = fleet.asked[0]
    await fleet.ask(card)
    assert fleet.asked[0] == failed, "an open circuit lets nothing through"

    fleet.fakes[0].behaviour = "answer"

    async def closed() -> bool:
        await fleet.ask(card)
        return (await fleet.client.workers(card)).circuits == {"closed": 2}

    await until(closed, 30)
    assert fleet.asked[0] > failed


async def ask_until_open(fleet: Fleet, card: ModelCard) -> bool:
    await fleet.ask(card)
    return (await fleet.client.workers(card)).circuits == {"closed": 1, "open": 1}


async def test_a_full_queue_says_nothing_against_a_server(fleet: Fleet, card: ModelCard) -> None:
    for fake in fleet.fakes:
        fake.behaviour = "queue_full"

    for number in range(5):
        with pytest.raises(Overloaded):
            await fleet.ask(card, number)

    assert fleet.asked == [5, 5]
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
        await fleet.ask(card)

    assert sum(fleet.asked) == 2
    assert fleet.second_tries == {"failed": 1}
    await fleet.client.close()


async def test_a_server_that_hangs_loses_nothing_but_time(fleet: Fleet, impatient: ModelCard) -> None:
    fleet.fakes[0].behaviour = "slow"

    answers = [await fleet.ask(impatient, number) for number in range(20)]

    assert [answer.batch for answer in answers] == [BATCH] * 20
    assert (await fleet.client.workers(impatient)).circuits["open"] == 1


async def test_the_slower_of_two_answers_is_good_where_it_is_the_only_one(fleet: Fleet, impatient: ModelCard) -> None:
    slow, wrong = fleet.fakes
    slow.behaviour, wrong.behaviour = "slow", "nonsense"
    asked = asyncio.create_task(fleet.ask(impatient))
    await until(lambda: slow.waiting and wrong.asked, 30)
    slow.release.set()

    assert (await asked).batch == BATCH


async def test_a_deadline_that_the_caller_made_too_short_says_nothing_against_a_server(
    fleet: Fleet, card: ModelCard
) -> None:
    for fake in fleet.fakes:
        fake.behaviour = "slow"

    for number in range(10):
        with pytest.raises(DeadlineExceeded):
            await fleet.ask(card, number, seconds=0.02)

    assert (await fleet.client.workers(card)).circuits == {"closed": 2}
    assert not fleet.second_tries


async def test_servers_where_nothing_listens_are_passed_by(fakes: list[FakeTorchServe], card: ModelCard) -> None:
    nobody = [ServerAddress(f"unix:/nowhere/{number}", f"unix:/nowhere/{number}m") for number in range(4)]
    client = TorchServe([*nobody, fakes[0].place])

    for number in range(60):  # chance decides when each was asked once
        answer = await client.predict(card, pixels(number), deadline=soon(), request_id="r")
        assert answer.batch == BATCH

    assert (await client.workers(card)).circuits["closed"] == 1
    await client.close()


async def test_workers_are_those_of_all_servers_that_can_be_asked(fakes: list[FakeTorchServe], card: ModelCard) -> None:
    nobody = ServerAddress("unix:/nowhere/a", "unix:/nowhere/b")
    client = TorchServe([nobody, *(fake.place for fake in fakes)])
    del fakes[1].workers[card.name]
    fakes[2].workers[card.name] = [{"pid": 100, "status": "READY"}, {"pid": 101, "status": "UNLOADED"}]

    seen = await client.workers(card)

    assert len(seen.ready) == 2, "processes of one number on two hosts are two"
    assert seen.configured == 2
    await client.close()


@asynccontextmanager
async def loaded(client: TorchServe, card: ModelCard) -> AsyncIterator[Counter[int]]:
    """Eight callers that ask all the time, and a look at the workers every 10 ms; the answers by their batch."""
    answers: Counter[int] = Counter()
    stop = asyncio.Event()

    async def ask(seed: int) -> None:
        while not stop.is_set():
            answer = await client.predict(card, pixels(seed), deadline=soon(30), request_id="r")
            answers[answer.batch] += 1

    async def look() -> None:
        while not stop.is_set():
            await client.workers(card)
            await asyncio.sleep(0.01)

    tasks = [asyncio.create_task(ask(seed)) for seed in range(8)] + [asyncio.create_task(look())]
    try:
        yield answers
    finally:
        stop.set()
        await asyncio.gather(*tasks)


async def test_a_rolling_restart_under_load_loses_nothing(
    short_folder: Path, served: dict[str, ModelCard], card: ModelCard
) -> None:
    """Each server in turn cuts what it is computing, refuses connections, comes back without a worker, and has one."""
    made = [FakeTorchServe(short_folder, served) for _ in range(3)]
    async with AsyncExitStack() as stack:
        doors = [await stack.enter_async_context(AsyncExitStack()) for _ in made]
        places = [
            await door.enter_async_context(fake.listening("127.0.0.1")) for fake, door in zip(made, doors, strict=True)
        ]
        client = TorchServe(places)
        stack.push_async_callback(client.close)
        async with loaded(client, card) as answers:
            for fake, door, place in zip(made, doors, places, strict=True):
                await answered(answers, 30)
                await door.aclose()
                await answered(answers, 30)
                fake.workers[card.name], fake.behaviour = [], "not_registered"
                await door.enter_async_context(fake.listening("127.0.0.1", int(place.inference.rpartition(":")[2])))
                await answered(answers, 30)
                fake.workers[card.name], fake.behaviour = [{"pid": 200, "status": "READY"}], "answer"
            await answered(answers, 30)

    assert set(answers) == {BATCH}


async def answered(answers: Counter[int], more: int) -> None:
    """Wait for so many further answers."""
    before = answers.total()
    await until(lambda: answers.total() >= before + more, 60)


async def test_new_addresses_of_a_name_get_requests_and_former_ones_none(
    short_folder: Path, served: dict[str, ModelCard], card: ModelCard
) -> None:
    addresses = ["127.0.0.2"]

    async def look_up(_host: str) -> list[str]:
        return addresses

    first, second = (FakeTorchServe(short_folder, served) for _ in range(2))
    async with first.listening("127.0.0.2") as place:
        port = place.inference.rpartition(":")[2]
        url = f"http://workers.example:{port}"
        async with second.listening("127.0.0.3", int(port)):
            client = TorchServe([ServerAddress(url, url)], look_up=look_up, resolve_s=0)
            for number in range(10):
                await client.predict(card, pixels(number), deadline=soon(), request_id="r")
            assert (len(first.asked), len(second.asked)) == (10, 0)

            addresses[:] = ["127.0.0.3"]
            await client.workers(card)
            for number in range(10):
                await client.predict(card, pixels(number), deadline=soon(), request_id="r")
            assert (len(first.asked), len(second.asked)) == (10, 10)
            await client.close()
