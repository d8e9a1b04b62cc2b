"""Answers to pictures that come again: found instead of computed, and computed once where they come together."""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, Protocol, Self, TypeVar

from service.errors import DeadlineExceeded
from service.gateway.metrics import CacheOutcome

INLINE = 1 << 18  # bytes that are hashed in the event loop: below a millisecond


class Keepable(Protocol):
    """What can be told again."""

    def again(self) -> Self | None:
        """Itself as it is told when found; none where it, or a part of it, is a failure."""

    def size(self) -> int:
        """The bytes that it holds."""


Value = TypeVar("Value", bound=Keepable)


class ResponseCache(Generic[Value]):
    """Keeps what was asked for last, in so many bytes, and never a failure."""

    def __init__(self, limit: int, note: Callable[[CacheOutcome, int], None], *, shared: bool = True) -> None:
        """`note` is told how each was found, and the bytes kept; `shared` says whether callers may share.

        Where they have names, the time that an answer takes must not tell one what another has sent.
        """
        self.shared = shared
        self._limit = limit
        self._note = note
        self._kept: OrderedDict[Hashable, Value] = OrderedDict()
        self._under_way: dict[Hashable, asyncio.Future[Value | None]] = {}
        self._bytes = 0

    def kept(self, key: Hashable) -> Value | None:
        """What is kept for this key."""
        if key not in self._kept:
            return None
        self._kept.move_to_end(key)
        self._note("hit", self._bytes)
        return self._kept[key]

    async def find(
        self, key: Hashable, deadline: float, compute: Callable[[], Awaitable[Value]]
    ) -> tuple[Value, CacheOutcome]:
        """What `compute` gives, or gave for this key, and how it was found.

        `deadline` is for waiting while another one computes. Raises what `compute` does, and `DeadlineExceeded`.
        """
        if (kept := self.kept(key)) is not None:
            return kept, "hit"
        value, how = await self._found(key, deadline, compute)
        self._note(how, self._bytes)
        return value, how

    async def _found(
        self, key: Hashable, deadline: float, compute: Callable[[], Awaitable[Value]]
    ) -> tuple[Value, CacheOutcome]:
        if key in self._under_way:
            found = await _joined(self._under_way[key], deadline)
            # What the other met is the other's own: a shorter deadline, or a client that left.
            return (found, "coalesced") if found is not None else (await compute(), "miss")
        future = self._under_way[key] = asyncio.get_running_loop().create_future()
        good: Value | None = None
        try:
            value = await compute()
            good = value.again()
            return value, "miss"
        finally:
            del self._under_way[key]
            future.set_result(good)
            if good is not None:
                self._keep(key, good)

    def _keep(self, key: Hashable, value: Value) -> None:
        if value.size() > self._limit:
            return
        self._kept[key] = value
        self._bytes += value.size()
        while self._bytes > self._limit:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= oldest.size()


async def digest_of(content: bytes) -> bytes:
    """The SHA-256 of a picture's bytes."""
    if len(content) <= INLINE:
        return hashlib.sha256(content).digest()
    return await asyncio.to_thread(lambda: hashlib.sha256(content).digest())


async def _joined(future: asyncio.Future[Value | None], deadline: float) -> Value | None:
    try:
        async with asyncio.timeout_at(deadline):
            return await asyncio.shield(future)
    except TimeoutError:
        raise DeadlineExceeded("The answer to the same picture, which is under way, came too late.") from None
