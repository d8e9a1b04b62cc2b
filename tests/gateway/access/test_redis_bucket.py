"""Rate limits that gateways share in a real Redis, and their behaviour while it is down."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing
from typing import Any

import pytest

from service.errors import RateLimitsUnavailable
from service.gateway.access.redis_bucket import RedisTokenBuckets
from service.gateway.access.token_bucket import Allowance, LocalTokenBuckets
from tests.gateway.conftest import until
from tests.gateway.fixtures.redis_server import RedisServer

pytestmark = pytest.mark.anyio

SLOW = Allowance(rate=0.001, burst=5, concurrency=2)

Make = Callable[..., RedisTokenBuckets]


class Closing:
    """An adapter with the method that `aclosing` calls."""

    def __init__(self, buckets: RedisTokenBuckets) -> None:
        self.aclose = buckets.close


@pytest.fixture
async def make(redis_server: RedisServer) -> AsyncIterator[Make]:
    """Return what creates the token buckets of one more gateway."""
    async with AsyncExitStack() as stack:

        def one(
            *, fallback: LocalTokenBuckets | None = None, set_failing: Callable[[int], object] = int, **more: Any
        ) -> RedisTokenBuckets:
            options = {"timeout_s": 30.0, "lease_s": 60.0, "pause_s": 0.0} | more
            made = RedisTokenBuckets(redis_server.url, fallback=fallback, set_failing=set_failing, **options)
            stack.push_async_exit(aclosing(Closing(made)))
            return made

        yield one


async def test_two_gateways_share_one_limit(make: Make) -> None:
    one, other = make(), make()

    assert (await one.take("a", SLOW, 3, "x")).left(SLOW) == 2
    assert (await other.take("a", SLOW, 1, "y")).left(SLOW) == 1
    assert (await one.take("a", SLOW, 1, "z")).violated == "concurrency"
    await other.release("a", "y")
    assert (await one.take("a", SLOW, 2, "z")).violated == "images"


async def test_the_place_of_a_gateway_that_died_comes_back(make: Make) -> None:
    dead, alive = make(lease_s=0.5), make()
    for permit_id in "xy":
        await dead.take("a", SLOW, 1, permit_id)

    async def let_in() -> bool:
        return (await alive.take("a", SLOW, 1, "z")).violated is None

    await until(let_in, 30)


async def test_redis_forgets_by_itself_who_owes_and_holds_nothing(make: Make, redis_server: RedisServer) -> None:
    buckets = make()
    await buckets.take("key/a", Allowance(rate=0.1, burst=5, concurrency=2), 2, "x")

    left_ms = redis_server.names()

    assert set(left_ms) == {"resnest:quota:{key/a}:paid", "resnest:quota:{key/a}:held"}
    assert 0 < left_ms["resnest:quota:{key/a}:paid"] <= 20_001
    assert 0 < left_ms["resnest:quota:{key/a}:held"] <= 60_000


async def test_a_gateway_counts_alone_while_redis_is_away_and_says_so(make: Make, redis_server: RedisServer) -> None:
    failing: list[int] = []
    buckets = make(fallback=LocalTokenBuckets(), set_failing=failing.append)
    await buckets.take("a", SLOW, 5, "x")
    redis_server.stop()

    assert (await buckets.take("a", SLOW, 4, "y")).left(SLOW) == 1, "it knows only its own count"
    assert (await buckets.take("a", SLOW, 2, "z")).violated == "images"
    await buckets.release("a", "y")
    assert (buckets.state, failing) == ("failing", [1])

    redis_server.start()

    assert (await buckets.take("a", SLOW, 1)).left(SLOW) == 4
    assert (buckets.state, failing) == ("shared", [1, 0])


async def test_a_gateway_that_may_not_count_alone_refuses(make: Make, redis_server: RedisServer) -> None:
    buckets = make()
    redis_server.stop()

    with pytest.raises(RateLimitsUnavailable):
        await buckets.take("a", SLOW, 1)
    await buckets.release("a", "x")

    assert buckets.state == "failing"


async def test_a_redis_that_is_silent_is_waited_for_once(make: Make, redis_server: RedisServer) -> None:
    buckets = make(fallback=LocalTokenBuckets(), timeout_s=0.5, pause_s=600.0)
    await buckets.take("a", SLOW, 1)
    with redis_server.standing_still():
        began = time.monotonic()
        await buckets.take("a", SLOW, 1)
        waited_s = time.monotonic() - began
        for _ in range(3):
            await buckets.take("a", SLOW, 1)

    assert buckets.state == "failing"
    assert 0.4 < waited_s < 15


async def test_a_connection_that_redis_closed_while_it_was_idle_is_made_anew(
    make: Make, redis_server: RedisServer
) -> None:
    failing: list[int] = []
    buckets = make(set_failing=failing.append)
    await buckets.take("a", SLOW, 1)
    redis_server.stop()
    redis_server.start()

    assert (await buckets.take("a", SLOW, 1)).left(SLOW) == 4, "the script is loaded again too"
    assert failing == []


@pytest.mark.parametrize("url", ["localhost:6379", "http://localhost", "redis://localhost:port"])
def test_an_address_that_is_none_is_an_error(url: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the library's own message
        RedisTokenBuckets(url, 1, 1, None, int)
