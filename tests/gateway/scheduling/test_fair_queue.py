"""The fair queue: slots are bounded, callers share them fairly, and cancelled work takes none."""

import asyncio
import gc
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from service.gateway.scheduling.model_queue import ModelQueue
from tests.gateway.conftest import until

pytestmark = pytest.mark.anyio


class ManualWork:
    """A queue of work that the test finishes piece by piece, and the order in which the work started."""

    def __init__(self, slots: int, *, shared: bool = False) -> None:
        self.slots = slots
        self.queue = ModelQueue(lambda: self.slots, shared=shared)
        self.started: list[str] = []
        self.open: list[asyncio.Event] = []
        self.tasks: list[asyncio.Task[str]] = []

    def submit(self, name: str, caller: str = "a", *, urgency: int = 3, cost: float = 1.0) -> None:
        done = asyncio.Event()

        async def work() -> str:
            self.started.append(name)
            self.open.append(done)
            await done.wait()
            return name

        run = self.queue.run(work, caller, urgency=urgency, cost=cost)
        self.tasks.append(asyncio.create_task(run))

    async def finish(self) -> None:
        """End the oldest running work, and wait until the next has started."""
        self.open.pop(0).set()
        await idle()

    async def all(self) -> list[str]:
        await idle()
        while self.open:
            await self.finish()
        return self.started


async def idle() -> None:
    for _ in range(8):
        await asyncio.sleep(0)


@pytest.fixture
async def one() -> AsyncIterator[ManualWork]:
    work_by_hand = ManualWork(1)
    yield work_by_hand
    await work_by_hand.queue.close()


@pytest.fixture
async def two() -> AsyncIterator[ManualWork]:
    work_by_hand = ManualWork(2)
    yield work_by_hand
    await work_by_hand.queue.close()


async def test_no_more_runs_at_one_time_than_there_are_places(two: ManualWork) -> None:
    for number in range(6):
        two.submit(str(number))
    await idle()

    assert two.started == ["0", "1"]
    assert await two.all() == ["0", "1", "2", "3", "4", "5"]
    assert [await task for task in two.tasks] == ["0", "1", "2", "3", "4", "5"]


async def test_callers_take_turns_however_much_each_has_waiting(one: ManualWork) -> None:
    for number in range(6):
        one.submit(f"a{number}", "a")
    await idle()
    for number in range(3):
        one.submit(f"b{number}", "b")

    assert await one.all() == ["a0", "b0", "a1", "b1", "a2", "b2", "a3", "a4", "a5"]


async def test_a_caller_gains_nothing_by_coming_back_with_one_piece_at_a_time(one: ManualWork) -> None:
    for number in range(20):
        one.submit(f"a{number}", "a")
    await idle()
    for number in range(5):
        one.submit(f"b{number}", "b")
        await idle()
        while f"b{number}" not in one.started:
            await one.finish()

    assert Counter(name[0] for name in one.started)["a"] >= 5


async def test_costly_work_counts_for_what_it_costs(one: ManualWork) -> None:
    for number in range(3):
        one.submit(f"a{number}", "a", cost=4)
    await idle()
    for number in range(8):
        one.submit(f"b{number}", "b")

    order = await one.all()

    assert order[:9] == ["a0", "b0", "b1", "b2", "b3", "a1", "b4", "b5", "b6"]


async def test_the_most_urgent_of_a_callers_own_work_is_first(one: ManualWork) -> None:
    one.submit("first")
    await idle()
    for urgency in (5, 3, 0, 7, 3):
        one.submit(f"u{urgency}", urgency=urgency)

    assert await one.all() == ["first", "u0", "u3", "u3", "u5", "u7"]


async def test_urgency_overtakes_no_other_caller(one: ManualWork) -> None:
    one.submit("first", "c")
    await idle()
    for number in range(3):
        one.submit(f"a{number}", "a")
    for number in range(3):
        one.submit(f"b{number}", "b", urgency=0)

    assert await one.all() == ["first", "a0", "b0", "a1", "b1", "a2", "b2"]


async def test_work_that_can_wait_gives_way_to_others_and_is_not_starved(one: ManualWork) -> None:
    one.submit("first", "c")
    await idle()
    for number in range(4):
        one.submit(f"batch{number}", "a", urgency=6)
    for number in range(20):
        one.submit(f"b{number}", "b")

    order = await one.all()

    assert [index for index, name in enumerate(order) if name.startswith("batch")] == [1, 10, 19, 24]


async def test_work_that_is_cancelled_while_it_waits_is_never_begun(one: ManualWork) -> None:
    for name in ("first", "gone", "last"):
        one.submit(name)
    await idle()

    one.tasks[1].cancel()
    await idle()

    assert await one.all() == ["first", "last"]


async def test_begun_work_keeps_its_place_when_nobody_waits_for_it_any_more(one: ManualWork) -> None:
    one.submit("left")
    one.submit("next")
    await idle()

    one.tasks[0].cancel()
    await idle()
    assert one.started == ["left"]

    await one.finish()
    assert one.started == ["left", "next"]


async def test_work_that_is_let_in_and_cancelled_at_once_gives_its_place_back(one: ManualWork) -> None:
    one.submit("first")
    one.submit("second")
    one.submit("third")
    await idle()

    one.open.pop(0).set()
    await until(one.tasks[0].done)
    one.tasks[1].cancel()
    await idle()

    assert "third" in await one.all()


async def test_an_error_is_raised_and_gives_the_place_back(one: ManualWork) -> None:
    async def fail() -> None:
        raise KeyError

    with pytest.raises(KeyError):
        await one.queue.run(fail, "a")
    one.submit("next")

    assert await one.all() == ["next"]


async def test_an_error_that_nobody_waits_for_any_more_is_no_news(one: ManualWork) -> None:
    started, reported = asyncio.Event(), list[object]()
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reported.append(context))

    async def fail() -> None:
        started.set()
        await asyncio.sleep(0.01)
        raise KeyError

    task = asyncio.create_task(one.queue.run(fail, "a"))
    await started.wait()
    task.cancel()
    await asyncio.wait([task])
    await until(lambda: not one.queue._running)
    del task  # the frames of its error hold the work
    gc.collect()
    await idle()

    assert reported == []


@pytest.mark.parametrize("iterations", [1, 8], ids=["just admitted", "running"])
async def test_work_that_is_cancelled_with_its_queue_is_cancelled_for_its_caller(
    one: ManualWork, iterations: int
) -> None:
    one.submit("work")
    for _ in range(iterations):
        await asyncio.sleep(0)

    await one.queue.close()
    await idle()

    assert one.tasks[0].cancelled()


async def test_more_places_let_in_more(one: ManualWork) -> None:
    for number in range(4):
        one.submit(str(number))
    await idle()
    one.slots = 3

    await one.finish()

    assert one.started == ["0", "1", "2", "3"]


async def test_many_callers_that_came_once_are_forgotten(one: ManualWork) -> None:
    for number in range(3000):
        one.submit("x", str(number))
        await idle()
        await one.finish()

    assert not one.queue._tags
