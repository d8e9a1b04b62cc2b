"""Background work leaves a model to its callers, and is never starved."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from service.gateway.scheduling import background
from service.gateway.scheduling.background import BACKGROUND, PASS_S, TURNS, BackgroundLimit
from service.gateway.scheduling.model_queue import ModelQueue
from tests.gateway.scheduling.test_fair_queue import ManualWork, idle

pytestmark = pytest.mark.anyio


class Beside(ManualWork):
    """A queue with eight slots and one worker, for callers and background work."""

    def __init__(self) -> None:
        super().__init__(8)
        self.queue = ModelQueue(lambda: self.slots, background=BackgroundLimit(lambda: 1))

    def bulk(self, count: int, caller: str = "bulk") -> None:
        for number in range(count):
            self.submit(f"bulk{number}", caller, urgency=BACKGROUND)


@pytest.fixture
async def beside() -> AsyncIterator[Beside]:
    made = Beside()
    yield made
    await made.queue.close()


async def test_without_callers_background_work_takes_every_slot(beside: Beside) -> None:
    beside.bulk(20)
    await idle()

    assert len(beside.started) == 8


async def test_after_a_caller_it_takes_one_slot_for_each_worker(beside: Beside) -> None:
    beside.submit("caller", "a")
    await idle()
    await beside.finish()

    beside.bulk(20)
    await idle()

    assert beside.started == ["caller", "bulk0"]


@pytest.mark.parametrize("caller", ["a", "bulk"])
async def test_it_waits_while_work_of_a_caller_runs_also_of_its_own(beside: Beside, caller: str) -> None:
    beside.submit("one", caller)
    beside.submit("two", caller)
    beside.bulk(2)
    await idle()
    await beside.finish()
    assert beside.started == ["one", "two"]

    await beside.finish()

    assert beside.started == ["one", "two", "bulk0"]


async def test_it_waits_while_an_image_of_a_caller_is_decoded(beside: Beside) -> None:
    beside.queue.expect("a")
    beside.queue.expect_no_more("a")
    beside.submit("first", "a")
    await idle()
    beside.queue.expect("a")
    await beside.finish()
    beside.bulk(1)
    await idle()
    assert beside.started == ["first"]

    beside.queue.expect_no_more("a")  # the upload was no image, so nothing follows
    await idle()

    assert beside.started == ["first", "bulk0"]


async def test_a_caller_starts_beside_background_work(beside: Beside) -> None:
    beside.submit("caller", "a")
    await idle()
    await beside.finish()
    beside.bulk(2)
    await idle()

    beside.submit("next", "a")
    await idle()

    assert beside.started == ["caller", "bulk0", "next"]


async def test_callers_that_never_stop_do_not_starve_it(beside: Beside) -> None:
    beside.submit("0", "a")
    await idle()
    beside.bulk(3)
    for number in range(1, 3 * TURNS + 3):
        beside.submit(str(number), "a")
        await idle()
        await beside.finish()

    order = [name for name in beside.started if name.startswith("bulk")]
    assert order == ["bulk0", "bulk1", "bulk2"]
    assert beside.started.index("bulk1") - beside.started.index("bulk0") >= TURNS


async def test_short_passes_let_more_of_it_run_and_long_ones_less(beside: Beside) -> None:
    beside.submit("caller", "a")
    await idle()
    await beside.finish()
    for _ in range(3):
        beside.queue.note_pass(BACKGROUND, PASS_S / 2)
    beside.queue.note_pass(BACKGROUND, PASS_S * 2)
    beside.queue.note_pass(3, PASS_S / 2)  # of a caller

    beside.bulk(20)
    await idle()

    assert len(beside.started) == 1 + 1 + 2


async def test_it_has_every_slot_again_when_callers_have_left(beside: Beside, monkeypatch: pytest.MonkeyPatch) -> None:
    beside.submit("caller", "a")
    await idle()
    await beside.finish()
    beside.bulk(20)
    await idle()
    assert len(beside.started) == 2

    monkeypatch.setattr(background, "RECENT_S", 0.0)
    await asyncio.sleep(0.001)
    await beside.finish()

    assert len(beside.started) == 2 + 8
