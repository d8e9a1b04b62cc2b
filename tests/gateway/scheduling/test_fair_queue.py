"""Places for work: bounded, fair between callers, and never taken by work that nobody waits for."""

import asyncio
import gc
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from service.gateway.scheduling.fair_queue import FairQueue
from tests.gateway.conftest import until

pytestmark = pytest.mark.anyio


class Shop:
    """Work that is finished by hand, one piece at a time, and the order in which it was begun."""

    def __init__(self, places: int, *, shared: bool = False) -> None:
        self.places = places
        self.turns = FairQueue(lambda: self.places, shared=shared)
        self.begun: list[str] = []
        self.open: list[asyncio.Event] = []
        self.tasks: list[asyncio.Task[str]] = []

    def ask(self, name: str, caller: str = "a", *, urgency: int = 3, cost: float = 1.0) -> None:
        done = asyncio.Event()

        async def work() -> str:
            self.begun.append(name)
            self.open.append(done)
            await done.wait()
            return name

        run = self.turns.run(work, caller, urgency=urgency, cost=cost)
        self.tasks.append(asyncio.create_task(run))

    async def finish(self) -> None:
        """End the oldest of the running pieces, and wait until what follows has begun."""
        self.open.pop(0).set()
        await idle()

    async def all(self) -> list[str]:
        await idle()
        while self.open:
            await self.finish()
        return self.begun


async def idle() -> None:
    for _ in range(8):
        await asyncio.sleep(0)


@pytest.fixture
async def one() -> AsyncIterator[Shop]:
    shop = Shop(1)
    yield shop
    await shop.turns.close()


@pytest.fixture
async def two() -> AsyncIterator[Shop]:
    shop = Shop(2)
    yield shop
    await shop.turns.close()


async def test_no_more_runs_at_one_time_than_there_are_places(two: Shop) -> None:
    for number in range(6):
        two.ask(str(number))
    await idle()

    assert two.begun == ["0", "1"]
    assert await two.all() == ["0", "1", "2", "3", "4", "5"]
    assert [await task for task in two.tasks] == ["0", "1", "2", "3", "4", "5"]


async def test_callers_take_turns_however_much_each_has_waiting(one: Shop) -> None:
    for number in range(6):
        one.ask(f"a{number}", "a")
    await idle()
    for number in range(3):
        one.ask(f"b{number}", "b")

    assert await one.all() == ["a0", "b0", "a1", "b1", "a2", "b2", "a3", "a4", "a5"]


async def test_a_caller_gains_nothing_by_coming_back_with_one_piece_at_a_time(one: Shop) -> None:
    for number in range(20):
        one.ask(f"a{number}", "a")
    await idle()
    for number in range(5):
        one.ask(f"b{number}", "b")
        await idle()
        while f"b{number}" not in one.begun:
            await one.finish()

    assert Counter(name[0] for name in one.begun)["a"] >= 5


async def test_costly_work_counts_for_what_it_costs(one: Shop) -> None:
    for number in range(3):
        one.ask(f"a{number}", "a", cost=4)
    await idle()
    for number in range(8):
        one.ask(f"b{number}", "b")

    order = await one.all()

    assert order[:9] == ["a0", "b0", "b1", "b2", "b3", "a1", "b4", "b5", "b6"]


async def test_the_most_urgent_of_a_callers_own_work_is_first(one: Shop) -> None:
    one.ask("first")
    await idle()
    for urgency in (5, 3, 0, 7, 3):
        one.ask(f"u{urgency}", urgency=urgency)

    assert await one.all() == ["first", "u0", "u3", "u3", "u5", "u7"]


async def test_urgency_overtakes_no_other_caller(one: Shop) -> None:
    one.ask("first", "c")
    await idle()
    for number in range(3):
        one.ask(f"a{number}", "a")
    for number in range(3):
        one.ask(f"b{number}", "b", urgency=0)

    assert await one.all() == ["first", "a0", "b0", "a1", "b1", "a2", "b2"]


async def test_work_that_can_wait_gives_way_to_others_and_is_not_starved(one: Shop) -> None:
    one.ask("first", "c")
    await idle()
    for number in range(4):
        one.ask(f"batch{number}", "a", urgency=6)
    for number in range(20):
        one.ask(f"b{number}", "b")

    order = await one.all()

    assert [place for place, name in enumerate(order) if name.startswith("batch")] == [1, 10, 19, 24]


async def test_work_that_is_cancelled_while_it_waits_is_never_begun(one: Shop) -> None:
    for name in ("first", "gone", "last"):
        one.ask(name)
    await idle()

    one.tasks[1].cancel()
    await idle()

    assert await one.all() == ["first", "last"]


async def test_begun_work_keeps_its_place_when_nobody_waits_for_it_any_more(one: Shop) -> None:
    one.ask("left")
    one.ask("next")
    await idle()

    one.tasks[0].cancel()
    await idle()
    assert one.begun == ["left"]

    await one.finish()
    assert one.begun == ["left", "next"]


async def test_work_that_is_let_in_and_cancelled_at_once_gives_its_place_back(one: Shop) -> None:
    one.ask("first")
    one.ask("second")
    one.ask("third")
    await idle()

    one.open.pop(0).set()
    await until(one.tasks[0].done)
    one.tasks[1].cancel()
    await idle()

    assert "third" in await one.all()


async def test_an_error_is_raised_and_gives_the_place_back(one: Shop) -> None:
    async def fail() -> None:
        raise KeyError

    with pytest.raises(KeyError):
        await one.turns.run(fail, "a")
    one.ask("next")

    assert await one.all() == ["next"]


async def test_an_error_that_nobody_waits_for_any_more_is_no_news(one: Shop) -> None:
    begun, told = asyncio.Event(), list[object]()
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context))

    async def fail() -> None:
        begun.set()
        await asyncio.sleep(0.01)
        raise KeyError

    task = asyncio.create_task(one.turns.run(fail, "a"))
    await begun.wait()
    task.cancel()
    await asyncio.wait([task])
    await until(lambda: not one.turns._running)
    del task  # its error's frames hold the work
    gc.collect()
    await idle()

    assert told == []


async def test_more_places_let_in_more(one: Shop) -> None:
    for number in range(4):
        one.ask(str(number))
    await idle()
    one.places = 3

    await one.finish()

    assert one.begun == ["0", "1", "2", "3"]


async def test_many_callers_that_came_once_are_forgotten(one: Shop) -> None:
    for number in range(3000):
        one.ask("x", str(number))
        await idle()
        await one.finish()

    assert not one.turns._tags
