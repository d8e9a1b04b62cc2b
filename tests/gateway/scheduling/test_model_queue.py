"""The estimated wait of a fair queue, and the measurements that it uses."""

import asyncio

import pytest

from service.errors import DeadlineExceeded
from tests.gateway.scheduling.test_fair_queue import ManualWork, idle, one, two

__all__ = ["one", "two"]

pytestmark = pytest.mark.anyio


async def test_nothing_is_foretold_before_anything_is_known(one: ManualWork) -> None:
    one.submit("first")
    one.submit("second")
    await idle()

    assert one.queue.wait_s("a") == 0


async def test_a_wait_is_foretold_from_what_is_before_one_in_a_fair_order(one: ManualWork) -> None:
    one.queue.service_time.mean_s = 0.5
    one.submit("running", "a")
    await idle()
    for number in range(4):
        one.submit(f"a{number}", "a")
    await idle()

    assert one.queue.wait_s("a") == 0.5 * (1 + 5)
    assert one.queue.wait_s("b") == 0.5 * (1 + 2)
    assert one.queue.wait_s("b", 8) == 0.5 * (1 + 12)


async def test_a_taken_place_is_foretold_to_be_free_at_the_pace_of_late(one: ManualWork) -> None:
    one.submit("long")
    await idle()
    assert one.queue.free_in_s() == 0  # there is no sample yet
    one.queue.service_time.mean_s = 100.0

    assert 90 < one.queue.free_in_s() <= 100
    await one.all()
    assert one.queue.free_in_s() == 0


async def test_no_wait_is_foretold_where_nobody_is_however_slow_it_was_of_late(two: ManualWork) -> None:
    two.queue.service_time.mean_s = 100.0

    assert two.queue.wait_s("a", 3) == 0


async def miss_deadline(manual: ManualWork) -> None:
    async def fail() -> None:
        raise DeadlineExceeded("too late")

    with pytest.raises(DeadlineExceeded):
        await manual.queue.run(fail, "a")


async def test_with_a_place_free_no_wait_is_foretold_while_nothing_is_late() -> None:
    manual = ManualWork(8, shared=True)
    manual.queue.service_time.mean_s = 8.0
    manual.submit("running", "a")
    await idle()

    assert manual.queue.wait_s("b", 7) == 0
    assert manual.queue.wait_s("b", 8) == 9.0
    await manual.all()
    await manual.queue.close()


async def test_after_a_late_answer_the_few_before_one_are_foretold_and_a_batch_with_as_many() -> None:
    manual = ManualWork(8, shared=True)
    await miss_deadline(manual)
    manual.queue.service_time.mean_s = 8.0
    manual.submit("running", "a")
    await idle()

    assert manual.queue.wait_s("b") == 4.0
    assert manual.queue.wait_s("b", 3) == 8.0
    assert manual.queue.wait_s("b", 9) == 10.0, "two of them wait for a slot"
    await manual.all()
    await manual.queue.close()


async def test_places_that_share_nothing_are_held_as_long_when_few_are_taken(two: ManualWork) -> None:
    await miss_deadline(two)
    two.queue.service_time.mean_s = 100.0
    two.submit("running", "a")
    await idle()

    assert two.queue.wait_s("b") == 100.0
    assert two.queue.wait_s("b", 2) == 150.0


async def test_work_on_its_way_is_foretold_as_if_it_waited(two: ManualWork) -> None:
    two.queue.service_time.mean_s = 100.0
    expected = [two.queue.expect("a") for _ in range(3)]
    assert two.queue.wait_s("a") == 100.0 * (2 + 2) / 2
    assert two.queue.wait_s("b") == 100.0 * 2 / 2

    for each in expected:
        two.queue.expect_no_more(each)
    assert two.queue.wait_s("a") == 0


async def run_alone(manual: ManualWork, duration_s: float, times: int = 1) -> None:
    """Run work in an empty queue, `times` times, `duration_s` seconds each."""

    async def work() -> None:
        await asyncio.sleep(duration_s)

    for _ in range(times):
        await manual.queue.run(work, "a")


async def test_the_pace_of_places_that_share_a_server_is_that_of_all_of_them_taken() -> None:
    private, shared = ManualWork(100), ManualWork(100, shared=True)
    for manual in (private, shared):
        await run_alone(manual, 0.001, times=60)

    assert private.queue.service_time.mean_s is not None
    assert shared.queue.service_time.mean_s is not None
    assert shared.queue.service_time.mean_s > 50 * 0.001
    assert private.queue.service_time.mean_s < shared.queue.service_time.mean_s


async def test_the_pace_follows_the_work(one: ManualWork) -> None:
    async def work() -> None:
        await asyncio.sleep(0.02)

    await one.queue.run(work, "a", cost=2)

    assert one.queue.service_time.mean_s is not None
    assert 0.009 < one.queue.service_time.mean_s < 5


@pytest.mark.parametrize("before", [1e-6, 100.0])
async def test_work_that_failed_shows_only_how_long_it_takes_at_least(one: ManualWork, before: float) -> None:
    async def fails() -> None:
        await asyncio.sleep(0.02)
        raise RuntimeError

    one.queue.service_time.mean_s = before
    with pytest.raises(RuntimeError):
        await one.queue.run(fails, "a")

    assert (one.queue.service_time.mean_s > before) is (before < 0.02)
    assert (one.queue.service_time.mean_s == before) is (before > 0.02)


async def test_who_gives_up_sooner_than_anything_could_be_answered_makes_nobody_wary() -> None:
    manual = ManualWork(8, shared=True)
    manual.queue.service_time.mean_s = 3600.0
    await miss_deadline(manual)
    manual.submit("running", "a")
    await idle()

    assert manual.queue.wait_s("b") == 0


async def run_in_pairs(manual: ManualWork, times: int, duration_s: float) -> None:
    """Run pairs of work, of which the second waits for the first, `times` times, `duration_s` seconds each."""

    async def work() -> None:
        await asyncio.sleep(duration_s)

    for _ in range(times):
        await asyncio.gather(*(manual.queue.run(work, "a") for _ in range(2)))


async def test_where_work_ends_later_than_was_foretold_more_room_is_left(one: ManualWork) -> None:
    one.queue.service_time.mean_s = 1e-6
    await run_in_pairs(one, 3, duration_s=0.02)
    one.queue.service_time.mean_s = 1.0
    one.submit("running")
    await idle()

    assert one.queue.wait_s("b") > 2.0 + 0.005, "the second of each pair took 0.04 s, and the estimate was almost zero"


async def test_who_is_given_up_late_while_it_waits_shows_that_more_room_is_to_be_left(one: ManualWork) -> None:
    one.queue.service_time.mean_s = 1e-6
    one.submit("running")
    await idle()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await one.queue.run(idle, "a")
    one.queue.service_time.mean_s = 1.0

    assert one.queue.wait_s("b") > 2.0


async def test_who_is_given_up_early_shows_nothing(one: ManualWork) -> None:
    one.queue.service_time.mean_s = 1.0
    one.submit("running")
    await idle()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await one.queue.run(idle, "a")

    assert one.queue.wait_s("b") == 2.0


async def test_who_is_given_up_while_it_waits_is_no_longer_counted(one: ManualWork) -> None:
    one.queue.service_time.mean_s = 0.5
    for name in ("running", "stays", "gone"):
        one.submit(name, "a")
    await idle()
    before = one.queue.wait_s("a")

    one.tasks[2].cancel()
    await idle()

    assert one.queue.wait_s("a") == before - 0.5


async def test_more_room_is_left_only_until_things_end_as_foretold_though_places_are_free() -> None:
    async def work() -> None:
        await asyncio.sleep(0.001)

    manual = ManualWork(8, shared=True)
    await miss_deadline(manual)
    for _ in range(3):
        manual.queue.service_time.mean_s = 1e-6
        await run_in_pairs(manual, 1, duration_s=0.02)
    manual.queue.service_time.mean_s = 1.0
    manual.submit("running")
    await idle()
    assert manual.queue.wait_s("b") > 0.9
    for _ in range(200):
        await manual.queue.run(work, "a")
        manual.queue.service_time.mean_s = 1.0

    assert manual.queue.wait_s("b") == pytest.approx(0.5, rel=0.01)
    await manual.all()
    await manual.queue.close()


async def test_who_finds_a_place_free_and_is_answered_sooner_than_foretold_does_not_shorten_the_wait_of_others() -> (
    None
):
    async def work() -> None:
        await asyncio.sleep(0.001)

    waits = []
    for easy in (0, 50):
        manual = ManualWork(2)
        await miss_deadline(manual)
        manual.submit("beside it")
        await idle()
        for _ in range(easy):
            manual.queue.service_time.mean_s = 1.0
            await manual.queue.run(work, "a")
        manual.queue.service_time.mean_s = 1e-6
        await run_in_pairs(manual, 1, duration_s=0.02)
        manual.queue.service_time.mean_s = 1.0
        manual.submit("running")
        await idle()
        waits.append(manual.queue.wait_s("b"))
        await manual.all()
        await manual.queue.close()

    assert waits[0] == pytest.approx(waits[1], rel=0.01)
