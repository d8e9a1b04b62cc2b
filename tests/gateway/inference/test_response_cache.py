"""The response cache: hits, coalescing, eviction, and no failures."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Self

import pytest

from service.errors import DeadlineExceeded
from service.gateway.inference.response_cache import INLINE_BYTES, ResponseCache, digest_of
from service.gateway.metrics import CacheOutcome

pytestmark = pytest.mark.anyio


@dataclass(frozen=True)
class Value:
    """A value of a size in bytes, which may be a failure."""

    name: str
    bytes: int = 10
    good: bool = True

    def cacheable(self) -> Self | None:
        return self if self.good else None

    def size(self) -> int:
        return self.bytes


class Harness:
    """A `ResponseCache`. It counts lookups by outcome, and computations by name; they wait for `go`."""

    def __init__(self, max_bytes: int = 100) -> None:
        self.outcomes: Counter[CacheOutcome] = Counter()
        self.bytes = 0
        self.computed: Counter[str] = Counter()
        self.cache: ResponseCache[Value] = ResponseCache(max_bytes, self._count)
        self.go = asyncio.Event()
        self.go.set()

    def _count(self, outcome: CacheOutcome, size: int) -> None:
        self.outcomes[outcome] += 1
        self.bytes = size

    def computing(self, value: Value) -> Callable[[], Awaitable[Value]]:
        async def compute() -> Value:
            self.computed[value.name] += 1
            await self.go.wait()
            return value

        return compute

    async def get(self, value: Value, seconds: float = 30, *, shared_by: str = "") -> Value:
        """Look up a value, which is computed after a miss."""
        deadline = asyncio.get_running_loop().time() + seconds
        found, _ = await self.cache.get_or_compute(value.name, deadline, self.computing(value), shared_by=shared_by)
        return found


async def test_what_was_computed_is_found_again() -> None:
    harness = Harness()

    assert [await harness.get(Value("a")) for _ in range(3)] == [Value("a")] * 3
    assert harness.computed == {"a": 1}
    assert harness.outcomes == {"miss": 1, "hit": 2}


async def test_the_least_lately_used_goes_where_the_bytes_are_not_enough() -> None:
    harness = Harness(max_bytes=30)
    for name in "abcadacb":
        await harness.get(Value(name))

    assert harness.bytes == 30
    assert harness.computed == {"a": 1, "b": 2, "c": 1, "d": 1}, "d evicts b, which is computed again"


async def test_what_is_larger_than_all_the_bytes_is_not_kept_and_drives_nothing_out() -> None:
    harness = Harness(max_bytes=30)
    await harness.get(Value("a"))
    await harness.get(Value("large", 31))
    await harness.get(Value("large", 31))
    await harness.get(Value("a"))

    assert harness.computed == {"a": 1, "large": 2}
    assert harness.bytes == 10


async def test_a_failure_is_not_kept() -> None:
    harness = Harness()
    for _ in range(2):
        assert not (await harness.get(Value("a", good=False))).good

    assert harness.computed == {"a": 2}
    assert harness.bytes == 0


async def test_many_who_ask_together_are_answered_by_one_computation() -> None:
    harness = Harness()
    harness.go.clear()
    lookups = [asyncio.create_task(harness.get(Value("a"))) for _ in range(8)]
    await asyncio.sleep(0)
    harness.go.set()

    assert await asyncio.gather(*lookups) == [Value("a")] * 8
    assert harness.computed == {"a": 1}
    assert harness.outcomes == {"miss": 1, "coalesced": 7}


async def test_who_must_not_wait_for_a_computation_starts_another_and_both_are_kept_as_one() -> None:
    harness = Harness()
    harness.go.clear()
    lookups = [asyncio.create_task(harness.get(Value("a"), shared_by=kind)) for kind in ("x", "y", "x", "y")]
    await asyncio.sleep(0)
    harness.go.set()
    await asyncio.gather(*lookups)
    await harness.get(Value("a"), shared_by="z")

    assert harness.computed == {"a": 2}
    assert harness.outcomes == {"miss": 2, "coalesced": 2, "hit": 1}
    assert harness.bytes == 10


async def test_nobody_is_told_of_anothers_failure() -> None:
    harness = Harness()
    harness.go.clear()
    failing = asyncio.create_task(harness.get(Value("a", good=False)))
    await asyncio.sleep(0)
    coalesced = [asyncio.create_task(harness.get(Value("a"))) for _ in range(3)]
    await asyncio.sleep(0)
    harness.go.set()

    assert not (await failing).good
    assert await asyncio.gather(*coalesced) == [Value("a")] * 3


@pytest.mark.parametrize("end", ["cancelled", "raised"])
async def test_those_who_wait_for_one_who_leaves_or_breaks_are_answered_all_the_same(end: str) -> None:
    harness = Harness()
    harness.go.clear()

    async def fail() -> Value:
        await harness.go.wait()
        raise ZeroDivisionError

    deadline = asyncio.get_running_loop().time() + 30
    compute = fail if end == "raised" else harness.computing(Value("a"))
    first = asyncio.create_task(harness.cache.get_or_compute("a", deadline, compute))
    await asyncio.sleep(0)
    coalesced = asyncio.create_task(harness.get(Value("a")))
    await asyncio.sleep(0)
    if end == "cancelled":
        first.cancel()
    harness.go.set()

    assert await coalesced == Value("a")
    with pytest.raises(asyncio.CancelledError if end == "cancelled" else ZeroDivisionError):
        await first


async def test_waiting_for_anothers_answer_ends_at_ones_own_deadline() -> None:
    harness = Harness()
    harness.go.clear()
    first = asyncio.create_task(harness.get(Value("a")))
    await asyncio.sleep(0)

    with pytest.raises(DeadlineExceeded):
        await harness.get(Value("a"), seconds=0.01)

    harness.go.set()
    assert await first == Value("a")


async def test_a_digest_is_that_of_all_the_bytes_however_many() -> None:
    large = bytes(INLINE_BYTES + 1)

    assert len({await digest_of(content) for content in (b"", b"a", large, large + b"a")}) == 4
    assert await digest_of(large) == await digest_of(bytes(INLINE_BYTES + 1))
