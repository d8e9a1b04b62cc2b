"""What was computed once is found again, computed once for many, and never a failure."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Self

import pytest

from service.errors import DeadlineExceeded
from service.gateway.inference.response_cache import INLINE, ResponseCache, digest_of
from service.gateway.metrics import CacheOutcome

pytestmark = pytest.mark.anyio


@dataclass(frozen=True)
class Value:
    """Something of a size, that may be a failure."""

    name: str
    bytes: int = 10
    good: bool = True

    def again(self) -> Self | None:
        return self if self.good else None

    def size(self) -> int:
        return self.bytes


class House:
    """A `ResponseCache`, what it told, and how often something was computed."""

    def __init__(self, limit: int = 100) -> None:
        self.outcomes: Counter[CacheOutcome] = Counter()
        self.bytes = 0
        self.computed: Counter[str] = Counter()
        self.recall: ResponseCache[Value] = ResponseCache(limit, self._note)
        self.go = asyncio.Event()
        self.go.set()

    def _note(self, how: CacheOutcome, size: int) -> None:
        self.outcomes[how] += 1
        self.bytes = size

    def computing(self, value: Value) -> Callable[[], Awaitable[Value]]:
        async def compute() -> Value:
            self.computed[value.name] += 1
            await self.go.wait()
            return value

        return compute

    async def find(self, value: Value, seconds: float = 30) -> Value:
        deadline = asyncio.get_running_loop().time() + seconds
        found, _ = await self.recall.find(value.name, deadline, self.computing(value))
        return found


async def test_what_was_computed_is_found_again() -> None:
    house = House()

    assert [await house.find(Value("a")) for _ in range(3)] == [Value("a")] * 3
    assert house.computed == {"a": 1}
    assert house.outcomes == {"miss": 1, "hit": 2}


async def test_the_least_lately_used_goes_where_the_bytes_are_not_enough() -> None:
    house = House(limit=30)
    for name in "abcadacb":
        await house.find(Value(name))

    assert house.bytes == 30
    assert house.computed == {"a": 1, "b": 2, "c": 1, "d": 1}, "d drove b out, and b came again"


async def test_what_is_larger_than_all_the_bytes_is_not_kept_and_drives_nothing_out() -> None:
    house = House(limit=30)
    await house.find(Value("a"))
    await house.find(Value("large", 31))
    await house.find(Value("large", 31))
    await house.find(Value("a"))

    assert house.computed == {"a": 1, "large": 2}
    assert house.bytes == 10


async def test_a_failure_is_not_kept() -> None:
    house = House()
    for _ in range(2):
        assert not (await house.find(Value("a", good=False))).good

    assert house.computed == {"a": 2}
    assert house.bytes == 0


async def test_many_who_ask_together_are_answered_by_one_computation() -> None:
    house = House()
    house.go.clear()
    asked = [asyncio.create_task(house.find(Value("a"))) for _ in range(8)]
    await asyncio.sleep(0)
    house.go.set()

    assert await asyncio.gather(*asked) == [Value("a")] * 8
    assert house.computed == {"a": 1}
    assert house.outcomes == {"miss": 1, "coalesced": 7}


async def test_nobody_is_told_of_anothers_failure() -> None:
    house = House()
    house.go.clear()
    failing = asyncio.create_task(house.find(Value("a", good=False)))
    await asyncio.sleep(0)
    joined = [asyncio.create_task(house.find(Value("a"))) for _ in range(3)]
    await asyncio.sleep(0)
    house.go.set()

    assert not (await failing).good
    assert await asyncio.gather(*joined) == [Value("a")] * 3


@pytest.mark.parametrize("end", ["cancelled", "raised"])
async def test_those_who_wait_for_one_who_leaves_or_breaks_are_answered_all_the_same(end: str) -> None:
    house = House()
    house.go.clear()

    async def breaks() -> Value:
        await house.go.wait()
        raise ZeroDivisionError

    deadline = asyncio.get_running_loop().time() + 30
    compute = breaks if end == "raised" else house.computing(Value("a"))
    first = asyncio.create_task(house.recall.find("a", deadline, compute))
    await asyncio.sleep(0)
    joined = asyncio.create_task(house.find(Value("a")))
    await asyncio.sleep(0)
    if end == "cancelled":
        first.cancel()
    house.go.set()

    assert await joined == Value("a")
    with pytest.raises(asyncio.CancelledError if end == "cancelled" else ZeroDivisionError):
        await first


async def test_waiting_for_anothers_answer_ends_at_ones_own_deadline() -> None:
    house = House()
    house.go.clear()
    first = asyncio.create_task(house.find(Value("a")))
    await asyncio.sleep(0)

    with pytest.raises(DeadlineExceeded):
        await house.find(Value("a"), seconds=0.01)

    house.go.set()
    assert await first == Value("a")


async def test_a_digest_is_that_of_all_the_bytes_however_many() -> None:
    large = bytes(INLINE + 1)

    assert len({await digest_of(content) for content in (b"", b"a", large, large + b"a")}) == 4
    assert await digest_of(large) == await digest_of(bytes(INLINE + 1))
