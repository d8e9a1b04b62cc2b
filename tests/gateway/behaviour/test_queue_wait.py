"""When work would be done that comes now, and what shows how long it takes."""

import asyncio

import pytest

from service.errors import DeadlineExceeded
from tests.gateway.scheduling.test_fair_queue import Shop, idle, one, two

__all__ = ["one", "two"]

pytestmark = pytest.mark.anyio


async def test_nothing_is_foretold_before_anything_is_known(one: Shop) -> None:
    one.ask("first")
    one.ask("second")
    await idle()

    assert one.turns.wait_s("a") == 0


async def test_a_wait_is_foretold_from_what_is_before_one_in_a_fair_order(one: Shop) -> None:
    one.turns.pace.mean_s = 0.5
    one.ask("running", "a")
    await idle()
    for number in range(4):
        one.ask(f"a{number}", "a")
    await idle()

    assert one.turns.wait_s("a") == 0.5 * (1 + 5)
    assert one.turns.wait_s("b") == 0.5 * (1 + 2)
    assert one.turns.wait_s("b", 8) == 0.5 * (1 + 12)


async def test_a_taken_place_is_foretold_to_be_free_at_the_pace_of_late(one: Shop) -> None:
    one.ask("long")
    await idle()
    assert one.turns.free_in_s() == 0  # nothing is known yet
    one.turns.pace.mean_s = 100.0

    assert 90 < one.turns.free_in_s() <= 100
    await one.all()
    assert one.turns.free_in_s() == 0


async def test_no_wait_is_foretold_where_nobody_is_however_slow_it_was_of_late(two: Shop) -> None:
    two.turns.pace.mean_s = 100.0

    assert two.turns.wait_s("a", 3) == 0


async def was_late(shop: Shop) -> None:
    async def late() -> None:
        raise DeadlineExceeded("too late")

    with pytest.raises(DeadlineExceeded):
        await shop.turns.run(late, "a")


async def test_with_a_place_free_no_wait_is_foretold_while_nothing_is_late() -> None:
    shop = Shop(8, shared=True)
    shop.turns.pace.mean_s = 8.0
    shop.ask("running", "a")
    await idle()

    assert shop.turns.wait_s("b", 7) == 0
    assert shop.turns.wait_s("b", 8) == 9.0
    await shop.all()
    await shop.turns.close()


async def test_after_a_late_answer_the_few_before_one_are_foretold_and_a_batch_with_as_many() -> None:
    shop = Shop(8, shared=True)
    await was_late(shop)
    shop.turns.pace.mean_s = 8.0
    shop.ask("running", "a")
    await idle()

    assert shop.turns.wait_s("b") == 4.0
    assert shop.turns.wait_s("b", 3) == 8.0
    assert shop.turns.wait_s("b", 9) == 10.0, "two of them have to wait for a place"
    await shop.all()
    await shop.turns.close()


async def test_places_that_share_nothing_are_held_as_long_when_few_are_taken(two: Shop) -> None:
    await was_late(two)
    two.turns.pace.mean_s = 100.0
    two.ask("running", "a")
    await idle()

    assert two.turns.wait_s("b") == 100.0
    assert two.turns.wait_s("b", 2) == 150.0


async def test_work_on_its_way_is_foretold_as_if_it_waited(two: Shop) -> None:
    two.turns.pace.mean_s = 100.0
    with two.turns.expecting("a"), two.turns.expecting("a"), two.turns.expecting("a"):
        assert two.turns.wait_s("a") == 100.0 * (2 + 2) / 2
        assert two.turns.wait_s("b") == 100.0 * 2 / 2

    assert two.turns.wait_s("a") == 0


async def alone(shop: Shop, works_s: float, times: int = 1) -> None:
    """Let work that finds nobody there take so long, as often."""

    async def work() -> None:
        await asyncio.sleep(works_s)

    for _ in range(times):
        await shop.turns.run(work, "a")


async def test_the_pace_of_places_that_share_a_server_is_that_of_all_of_them_taken() -> None:
    private, shared = Shop(100), Shop(100, shared=True)
    for shop in (private, shared):
        await alone(shop, 0.001, times=60)

    assert private.turns.pace.mean_s is not None
    assert shared.turns.pace.mean_s is not None
    assert shared.turns.pace.mean_s > 50 * 0.001
    assert private.turns.pace.mean_s < shared.turns.pace.mean_s


async def test_the_pace_follows_the_work(one: Shop) -> None:
    async def work() -> None:
        await asyncio.sleep(0.02)

    await one.turns.run(work, "a", cost=2)

    assert one.turns.pace.mean_s is not None
    assert 0.009 < one.turns.pace.mean_s < 5


@pytest.mark.parametrize("before", [1e-6, 100.0])
async def test_work_that_failed_shows_only_how_long_it_takes_at_least(one: Shop, before: float) -> None:
    async def fails() -> None:
        await asyncio.sleep(0.02)
        raise RuntimeError

    one.turns.pace.mean_s = before
    with pytest.raises(RuntimeError):
        await one.turns.run(fails, "a")

    assert (one.turns.pace.mean_s > before) is (before < 0.02)
    assert (one.turns.pace.mean_s == before) is (before > 0.02)


async def test_who_gives_up_sooner_than_anything_could_be_answered_makes_nobody_wary() -> None:
    shop = Shop(8, shared=True)
    shop.turns.pace.mean_s = 3600.0
    await was_late(shop)
    shop.ask("running", "a")
    await idle()

    assert shop.turns.wait_s("b") == 0


async def wait(shop: Shop, times: int, works_s: float) -> None:
    """Let work that waits for its turn take so long, as often."""

    async def work() -> None:
        await asyncio.sleep(works_s)

    for _ in range(times):
        await asyncio.gather(*(shop.turns.run(work, "a") for _ in range(2)))


async def test_where_work_ends_later_than_was_foretold_more_room_is_left(one: Shop) -> None:
    one.turns.pace.mean_s = 1e-6
    await wait(one, 3, works_s=0.02)
    one.turns.pace.mean_s = 1.0
    one.ask("running")
    await idle()

    assert one.turns.wait_s("b") > 2.0 + 0.005, "the second of each two took 0.04 s, and next to none was foretold"


async def test_who_is_given_up_late_while_it_waits_shows_that_more_room_is_to_be_left(one: Shop) -> None:
    one.turns.pace.mean_s = 1e-6
    one.ask("running")
    await idle()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await one.turns.run(idle, "a")
    one.turns.pace.mean_s = 1.0

    assert one.turns.wait_s("b") > 2.0


async def test_who_is_given_up_early_shows_nothing(one: Shop) -> None:
    one.turns.pace.mean_s = 1.0
    one.ask("running")
    await idle()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await one.turns.run(idle, "a")

    assert one.turns.wait_s("b") == 2.0


async def test_who_is_given_up_while_it_waits_is_no_longer_counted(one: Shop) -> None:
    one.turns.pace.mean_s = 0.5
    for name in ("running", "stays", "gone"):
        one.ask(name, "a")
    await idle()
    before = one.turns.wait_s("a")

    one.tasks[2].cancel()
    await idle()

    assert one.turns.wait_s("a") == before - 0.5


async def test_more_room_is_left_only_until_things_end_as_foretold_though_places_are_free() -> None:
    async def work() -> None:
        await asyncio.sleep(0.001)

    shop = Shop(8, shared=True)
    await was_late(shop)
    for _ in range(3):
        shop.turns.pace.mean_s = 1e-6
        await wait(shop, 1, works_s=0.02)
    shop.turns.pace.mean_s = 1.0
    shop.ask("running")
    await idle()
    assert shop.turns.wait_s("b") > 0.9
    for _ in range(200):
        await shop.turns.run(work, "a")
        shop.turns.pace.mean_s = 1.0

    assert shop.turns.wait_s("b") == pytest.approx(0.5, rel=0.01)
    await shop.all()
    await shop.turns.close()


async def test_who_finds_a_place_free_and_is_answered_sooner_than_foretold_does_not_shorten_the_wait_of_others() -> (
    None
):
    async def work() -> None:
        await asyncio.sleep(0.001)

    waits = []
    for easy in (0, 50):
        shop = Shop(2)
        await was_late(shop)
        shop.ask("beside it")
        await idle()
        for _ in range(easy):
            shop.turns.pace.mean_s = 1.0
            await shop.turns.run(work, "a")
        shop.turns.pace.mean_s = 1e-6
        await wait(shop, 1, works_s=0.02)
        shop.turns.pace.mean_s = 1.0
        shop.ask("running")
        await idle()
        waits.append(shop.turns.wait_s("b"))
        await shop.all()
        await shop.turns.close()

    assert waits[0] == pytest.approx(waits[1], rel=0.01)
