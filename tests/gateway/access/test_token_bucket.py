"""Token buckets and concurrent requests, counted in this process and in a real Redis."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.config.api_keys import NO_QUOTA, Quota
from service.gateway.access.redis_bucket import RedisTokenBuckets
from service.gateway.access.token_bucket import Allowance, LocalTokenBuckets, TokenBuckets
from tests.gateway.conftest import until
from tests.gateway.fixtures.redis_server import RedisServer

pytestmark = pytest.mark.anyio

SLOW = Allowance(rate=0.001, burst=5, concurrency=None)  # refills nothing during a test
NARROW = Allowance(rate=None, burst=1, concurrency=2)


@pytest.fixture(params=["local", "shared"])
async def buckets(request: pytest.FixtureRequest) -> AsyncIterator[TokenBuckets]:
    """Yield token buckets of each kind."""
    if request.param == "local":
        yield LocalTokenBuckets()
        return
    server: RedisServer = request.getfixturevalue("redis_server")
    shared = RedisTokenBuckets(server.url, timeout_s=30, lease_s=60, fallback=None, set_failing=int)
    yield shared
    await shared.close()


async def test_a_burst_is_let_in_and_not_a_picture_more(buckets: TokenBuckets) -> None:
    left = [(await buckets.take("a", SLOW, 1)).left(SLOW) for _ in range(5)]
    refused = await buckets.take("a", SLOW, 1)

    assert left == [4, 3, 2, 1, 0]
    assert refused.violated == "images"
    assert 990 < refused.wait_s(SLOW, 1) <= 1000


async def test_what_is_refused_costs_nothing(buckets: TokenBuckets) -> None:
    await buckets.take("a", SLOW, 3)

    assert (await buckets.take("a", SLOW, 3)).violated == "images"
    assert (await buckets.take("a", SLOW, 2)).violated is None


async def test_callers_have_each_their_own(buckets: TokenBuckets) -> None:
    await buckets.take("a", SLOW, 5)

    assert (await buckets.take("a", SLOW, 1)).violated == "images"
    assert (await buckets.take("b", SLOW, 5)).violated is None


async def test_the_rate_gives_back(buckets: TokenBuckets) -> None:
    quick = Allowance(rate=4, burst=2, concurrency=None)
    await buckets.take("a", quick, 2)

    async def let_in() -> bool:
        return (await buckets.take("a", quick, 1)).violated is None

    await until(let_in, 30)


async def test_so_many_requests_are_held_at_one_time_and_a_place_comes_back(buckets: TokenBuckets) -> None:
    assert [(await buckets.take("a", NARROW, 1, permit_id)).held for permit_id in "xy"] == [1, 2]
    refused = await buckets.take("a", NARROW, 1, "z")
    await buckets.release("a", "x")

    assert (refused.violated, refused.held) == ("concurrency", 2)
    assert (await buckets.take("a", NARROW, 1, "z")).held == 2
    assert (await buckets.take("b", NARROW, 1, "x")).held == 1


async def test_a_request_without_a_place_pays_for_nothing(buckets: TokenBuckets) -> None:
    both = Allowance(rate=0.001, burst=5, concurrency=1)
    await buckets.take("a", both, 1, "x")
    await buckets.take("a", both, 1, "y")
    await buckets.release("a", "x")

    assert (await buckets.take("a", both, 1, "y")).left(both) == 3


async def test_a_request_that_cannot_pay_takes_no_place(buckets: TokenBuckets) -> None:
    both = Allowance(rate=0.001, burst=1, concurrency=1)
    await buckets.take("a", both, 1)

    assert (await buckets.take("a", both, 1, "x")).violated == "images"
    assert (await buckets.take("a", NARROW, 1, "y")).held == 1


async def test_what_is_paid_later_takes_no_place(buckets: TokenBuckets) -> None:
    both = Allowance(rate=0.001, burst=5, concurrency=1)
    await buckets.take("a", both, 1, "x")

    status = await buckets.take("a", both, 2)

    assert (status.violated, status.left(both), status.held) == (None, 2, 1)


async def test_requests_at_one_moment_are_not_counted_as_fewer(buckets: TokenBuckets) -> None:
    found = await asyncio.gather(*(buckets.take("a", SLOW, 1) for _ in range(20)))

    assert [status.violated for status in found].count(None) == 5


@given(
    st.floats(1e-4, 1e4),
    st.integers(1, 1000),
    st.lists(st.tuples(st.floats(0, 100), st.integers(1, 50)), max_size=60),
)
@settings(deadline=None)
def test_never_more_than_the_burst_and_what_the_time_gave(
    rate: float, burst: int, asked: list[tuple[float, int]]
) -> None:
    now, granted, first = 1000.0, 0, 0.0
    buckets = LocalTokenBuckets(lambda: now)
    allowance = Allowance(rate, burst, None)
    for pause_s, images in asked:
        now += pause_s
        status = asyncio.run(buckets.take("a", allowance, images))
        if status.violated is None:
            first = first or now
            granted += images
            assert granted <= burst + (now - first) * rate + 1e-3 * rate + 1e-6
        elif images <= burst:
            now += status.wait_s(allowance, images)
            assert asyncio.run(buckets.take("a", allowance, images)).violated is None
            granted += images
        assert 0 <= status.left(allowance) <= burst


def test_a_caller_without_limits_of_its_own_has_the_default() -> None:
    default = Quota(rate=2.5, burst=7, concurrency=3)

    assert Allowance.of(NO_QUOTA, default, 32) == Allowance(2.5, 7, 3)
    assert Allowance.of(Quota(burst=9), default, 32) == Allowance(2.5, 9, 3)
    assert Allowance.of(Quota(concurrency=1), default, 32) == Allowance(2.5, 7, 1)
    assert not Allowance.of(NO_QUOTA, NO_QUOTA, 32).is_limited


@pytest.mark.parametrize(("rate", "burst"), [(0.5, 32), (2.5, 32), (32.5, 33)])
def test_where_no_burst_is_named_a_full_request_or_a_seconds_pictures_are_let_in(rate: float, burst: int) -> None:
    assert Allowance.of(Quota(rate=rate), NO_QUOTA, 32).burst == burst
    assert Allowance.of(Quota(rate=rate), Quota(burst=7), 32).burst == burst, (
        "the default burst belongs to the default rate"
    )


async def test_callers_who_owe_nothing_are_forgotten_first_and_memory_is_bounded() -> None:
    now = 0.0
    buckets = LocalTokenBuckets(lambda: now, max_callers=16)
    await buckets.take("holds", NARROW, 1, "x")
    for number in range(10):
        await buckets.take(f"paid-{number}", Allowance(100, 1, None), 1)
    now = 1.0
    await buckets.take("owes", SLOW, 5)
    for number in range(5):
        await buckets.take(f"new-{number}", SLOW, 1)

    assert (await buckets.take("owes", SLOW, 1)).violated == "images"
    for number in range(1000):
        await buckets.take(f"flood-{number}", SLOW, 1)
        assert len(buckets) <= 16
    assert (await buckets.take("holds", NARROW, 1, "y")).held == 2
