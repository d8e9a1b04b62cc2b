"""Background work leaves a model to its callers, and is never starved."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from service.errors import Overloaded
from service.gateway.scheduling import background
from service.gateway.scheduling.admission import Admission
from service.gateway.scheduling.background import BACKGROUND, PASS_S, TURNS, BackgroundLimit
from service.gateway.scheduling.model_queue import ModelQueue
from service.gateway.scheduling.request_terms import RequestTerms
from service.models.cards import ModelCard
from tests.gateway.scheduling.test_admission import gauge
from tests.gateway.scheduling.test_fair_queue import ManualWork, idle

pytestmark = pytest.mark.anyio


class Beside(ManualWork):
    """A queue with eight slots and one worker, for callers and background work."""

    def __init__(self, limit: BackgroundLimit | None = None) -> None:
        super().__init__(8)
        self.limit = limit or BackgroundLimit(lambda: 1, lambda: self.slots)
        self.queue = ModelQueue(lambda: self.slots, background=self.limit)

    async def caller_was_here(self) -> None:
        self.submit("caller", "a")
        await idle()
        await self.finish()

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
    beside.submit("first", "a")
    await idle()
    expected = beside.queue.expect("a")
    await beside.finish()
    beside.bulk(1)
    await idle()
    assert beside.started == ["first"]

    beside.queue.expect_no_more(expected)  # the upload was no image, so nothing follows
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
    await beside.caller_was_here()
    beside.bulk(40)
    for running in (1, 2, 3):
        await idle()
        assert len(beside.open) == running
        beside.queue.note_pass(BACKGROUND, PASS_S / 2)
        beside.queue.note_pass(3, PASS_S / 2)  # of a caller
        await beside.finish()

    beside.queue.note_pass(BACKGROUND, PASS_S * 2)
    await beside.finish()
    await beside.finish()

    assert len(beside.open) == 3


async def test_short_passes_never_raise_the_limit_above_the_slots(beside: Beside) -> None:
    await beside.caller_was_here()
    beside.bulk(200)
    for _ in range(100):
        await idle()
        beside.queue.note_pass(BACKGROUND, PASS_S / 2)
        await beside.finish()
    assert len(beside.open) == 8

    for _ in range(7):
        beside.queue.note_pass(BACKGROUND, PASS_S * 2)
    for _ in range(8):
        await beside.finish()
    assert len(beside.open) == 1, "as many long passes undo the short ones, however many there were"


async def test_short_passes_that_do_not_reach_the_limit_do_not_raise_it(beside: Beside) -> None:
    beside.bulk(1)
    await idle()
    for _ in range(20):
        beside.queue.note_pass(BACKGROUND, PASS_S / 2)
    await beside.finish()

    await beside.caller_was_here()
    beside.bulk(20)
    await idle()

    assert len(beside.open) == 2, "one of the notes followed the start of a piece that reached the limit"


async def test_callers_do_not_wait_for_what_is_held_back(beside: Beside) -> None:
    await beside.caller_was_here()
    beside.submit("running", "a")
    await idle()
    beside.bulk(20)
    expected = beside.queue.expect("other bulk", BACKGROUND)
    await idle()
    beside.queue.service_time.mean_s = 1.0

    assert beside.queue.wait_s("a") == 0
    assert beside.queue.wait_s("bulk", urgency=BACKGROUND) > 0
    beside.queue.expect_no_more(expected)


async def test_it_is_rejected_where_its_turn_comes_after_the_deadline(
    beside: Beside, served: dict[str, ModelCard]
) -> None:
    admission = Admission(
        1024, gauge(), lambda _, terms, images: beside.queue.wait_s(terms.caller, images, terms.urgency)
    )
    loop, card = asyncio.get_running_loop(), served["tiny-classifier"]
    await beside.caller_was_here()
    beside.submit("running", "a")
    await idle()

    def check(urgency: int, seconds: float) -> None:
        admission.check([card], RequestTerms("c", urgency, loop.time() + seconds))

    check(BACKGROUND, 0.1)  # the first is admitted whatever came before, and provides a sample
    beside.bulk(4, "c")
    await asyncio.sleep(0.05)
    check(BACKGROUND, 60)
    check(3, 0.1)
    with pytest.raises(Overloaded):
        check(BACKGROUND, 0.15)

    await beside.finish()  # the first of the four starts
    with pytest.raises(Overloaded):
        check(BACKGROUND, 0.15)
    for _ in range(4):
        await beside.finish()
    check(BACKGROUND, 0.01)


@pytest.mark.parametrize("busy", ["first", "second"])
async def test_the_work_of_one_queue_holds_back_that_of_the_others_of_its_model(beside: Beside, busy: str) -> None:
    other = Beside(beside.limit)
    with_caller, with_bulk = (beside, other) if busy == "first" else (other, beside)
    with_caller.submit("caller", "a")
    await idle()
    with_bulk.bulk(2)
    await idle()
    assert with_bulk.started == []

    expected = with_caller.queue.expect("a")
    await with_caller.finish()
    assert with_bulk.started == []

    with_caller.queue.expect_no_more(expected)
    await idle()
    assert with_bulk.started == ["bulk0"], "one piece for the worker of both"
    with_caller.bulk(1)
    await idle()
    assert with_caller.started == ["caller"]
    await with_bulk.finish()
    assert with_caller.started == ["caller", "bulk0"], "the queues take turns"
    await other.queue.close()


async def test_a_caller_that_gives_up_while_it_waits_lets_it_start(beside: Beside) -> None:
    other = Beside(beside.limit)
    beside.slots = 0
    beside.submit("waits", "a")
    other.bulk(1)
    await idle()
    assert other.started == []

    beside.tasks[0].cancel()
    await idle()

    assert other.started == ["bulk0"]
    await other.queue.close()


async def test_a_slot_goes_to_a_caller_that_waits_whatever_the_caller_had_before(beside: Beside) -> None:
    beside.slots = 1
    for number in range(4):
        beside.submit(str(number), "a")
    await idle()
    beside.bulk(1)
    for _ in range(3):
        await beside.finish()

    assert beside.started == ["0", "1", "2", "3"]


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
