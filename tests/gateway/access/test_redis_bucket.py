"""Limits that gateways share in a real Redis, and what becomes of them when it goes."""

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
    """What `aclosing` asks for."""

    def __init__(self, quotas: RedisTokenBuckets) -> None:
        self.aclose = quotas.close


@pytest.fixture
async def make(redis_server: RedisServer) -> AsyncIterator[Make]:
    """What makes the quotas of one more gateway."""
    async with AsyncExitStack() as stack:

        def one(
            *, alone: LocalTokenBuckets | None = None, tell: Callable[[int], object] = int, **more: Any
        ) -> RedisTokenBuckets:
            told = {"timeout_s": 30.0, "lease_s": 60.0, "pause_s": 0.0} | more
            made = RedisTokenBuckets(redis_server.url, alone=alone, tell=tell, **told)
            stack.push_async_exit(aclosing(Closing(made)))
            return made

        yield one


async def test_two_gateways_share_one_limit(make: Make) -> None:
    one, other = make(), make()

    assert (await one.take("a", SLOW, 3, "x")).left(SLOW) == 2
    assert (await other.take("a", SLOW, 1, "y")).left(SLOW) == 1
    assert (await one.take("a", SLOW, 1, "z")).broken == "concurrency"
    await other.leave("a", "y")
    assert (await one.take("a", SLOW, 2, "z")).broken == "pictures"


async def test_the_place_of_a_gateway_that_died_comes_back(make: Make) -> None:
    dead, alive = make(lease_s=0.5), make()
    for visit in "xy":
        await dead.take("a", SLOW, 1, visit)

    async def let_in() -> bool:
        return (await alive.take("a", SLOW, 1, "z")).broken is None

    await until(let_in, 30)


async def test_redis_forgets_by_itself_who_owes_and_holds_nothing(make: Make, redis_server: RedisServer) -> None:
    quotas = make()
    await quotas.take("key/a", Allowance(rate=0.1, burst=5, concurrency=2), 2, "x")

    left_ms = redis_server.names()

    assert set(left_ms) == {"resnest:quota:{key/a}:paid", "resnest:quota:{key/a}:held"}
    assert 0 < left_ms["resnest:quota:{key/a}:paid"] <= 20_001
    assert 0 < left_ms["resnest:quota:{key/a}:held"] <= 60_000


async def test_a_gateway_counts_alone_while_redis_is_away_and_says_so(make: Make, redis_server: RedisServer) -> None:
    told: list[int] = []
    quotas = make(alone=LocalTokenBuckets(), tell=told.append)
    await quotas.take("a", SLOW, 5, "x")
    redis_server.stop()

    assert (await quotas.take("a", SLOW, 4, "y")).left(SLOW) == 1, "it knows only what it counted alone"
    assert (await quotas.take("a", SLOW, 2, "z")).broken == "pictures"
    await quotas.leave("a", "y")
    assert (quotas.state, told) == ("failing", [1])

    redis_server.start()

    assert (await quotas.take("a", SLOW, 1)).left(SLOW) == 4
    assert (quotas.state, told) == ("shared", [1, 0])


async def test_a_gateway_that_may_not_count_alone_refuses(make: Make, redis_server: RedisServer) -> None:
    quotas = make()
    redis_server.stop()

    with pytest.raises(RateLimitsUnavailable):
        await quotas.take("a", SLOW, 1)
    await quotas.leave("a", "x")

    assert quotas.state == "failing"


async def test_a_redis_that_is_silent_is_waited_for_once(make: Make, redis_server: RedisServer) -> None:
    quotas = make(alone=LocalTokenBuckets(), timeout_s=0.5, pause_s=600.0)
    await quotas.take("a", SLOW, 1)
    with redis_server.standing_still():
        began = time.monotonic()
        await quotas.take("a", SLOW, 1)
        waited_s = time.monotonic() - began
        for _ in range(3):
            await quotas.take("a", SLOW, 1)

    assert quotas.state == "failing"
    assert 0.4 < waited_s < 15


async def test_a_connection_that_redis_closed_while_it_was_idle_is_made_anew(
    make: Make, redis_server: RedisServer
) -> None:
    told: list[int] = []
    quotas = make(tell=told.append)
    await quotas.take("a", SLOW, 1)
    redis_server.stop()
    redis_server.start()

    assert (await quotas.take("a", SLOW, 1)).left(SLOW) == 4, "the script is loaded anew too"
    assert told == []


@pytest.mark.parametrize("url", ["localhost:6379", "http://localhost", "redis://localhost:port"])
def test_an_address_that_is_none_is_an_error(url: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the library's own words
        RedisTokenBuckets(url, 1, 1, None, int)
