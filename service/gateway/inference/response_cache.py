"""Cache the results of recent images, and compute equal requests that arrive together once (request coalescing)."""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, Protocol, Self, TypeVar

from service.errors import DeadlineExceeded
from service.gateway.metrics import CacheOutcome

INLINE_BYTES = 1 << 18  # hashed in the event loop, because that takes less than 1 ms


class Cacheable(Protocol):
    """A value that can be cached."""

    def cacheable(self) -> Self | None:
        """Return the value as a later hit returns it; None if it, or a part of it, is a failure."""

    def size(self) -> int:
        """Return the size of the value in bytes."""


Value = TypeVar("Value", bound=Cacheable)


class ResponseCache(Generic[Value]):
    """A cache that evicts the least recently used values first, and never stores a failure."""

    def __init__(self, max_bytes: int, count: Callable[[CacheOutcome, int], None], *, shared: bool = True) -> None:
        """Store at most `max_bytes`. Each lookup calls `count` with its outcome and the bytes stored.

        `shared` says whether callers share entries. Authenticated callers must not: the response time would show one
        caller what another one has sent.
        """
        self.shared = shared
        self._max_bytes = max_bytes
        self._count = count
        self._cached: OrderedDict[Hashable, Value] = OrderedDict()
        self._in_flight: dict[Hashable, asyncio.Future[Value | None]] = {}
        self._bytes = 0

    def get(self, key: Hashable) -> Value | None:
        """Return the value of this key, None if it is not cached. Only a hit is counted."""
        if key not in self._cached:
            return None
        self._cached.move_to_end(key)
        self._count("hit", self._bytes)
        return self._cached[key]

    def remove_if(self, is_stale: Callable[[Hashable], bool]) -> None:
        """Remove the values with these keys."""
        for key in [key for key in self._cached if is_stale(key)]:
            self._bytes -= self._cached.pop(key).size()

    async def get_or_compute(
        self, key: Hashable, deadline: float, compute: Callable[[], Awaitable[Value]], *, shared_by: Hashable = None
    ) -> tuple[Value, CacheOutcome]:
        """Return the value of this key, from the cache or from `compute`, and the outcome of the lookup.

        If the same key is being computed by a request with an equal `shared_by`, wait for that until `deadline`, in
        loop time. Raises `DeadlineExceeded`, and what `compute` raises.
        """
        if (hit := self.get(key)) is not None:
            return hit, "hit"
        value, outcome = await self._coalesce_or_compute(key, (key, shared_by), deadline, compute)
        self._count(outcome, self._bytes)
        return value, outcome

    async def _coalesce_or_compute(
        self, key: Hashable, flight: Hashable, deadline: float, compute: Callable[[], Awaitable[Value]]
    ) -> tuple[Value, CacheOutcome]:
        if flight in self._in_flight:
            coalesced = await _coalesced(self._in_flight[flight], deadline)
            # A failure is not shared: its cause may concern only the first caller, as an earlier deadline does, or a
            # client that disconnected.
            return (coalesced, "coalesced") if coalesced is not None else (await compute(), "miss")
        future = self._in_flight[flight] = asyncio.get_running_loop().create_future()
        cacheable: Value | None = None
        try:
            value = await compute()
            cacheable = value.cacheable()
            return value, "miss"
        finally:
            del self._in_flight[flight]
            future.set_result(cacheable)
            if cacheable is not None:
                self._store(key, cacheable)

    def _store(self, key: Hashable, value: Value) -> None:
        if value.size() > self._max_bytes:
            return
        if key in self._cached:  # two of different `shared_by` were computed together
            self._bytes -= self._cached.pop(key).size()
        self._cached[key] = value
        self._bytes += value.size()
        while self._bytes > self._max_bytes:
            _, oldest = self._cached.popitem(last=False)
            self._bytes -= oldest.size()


async def digest_of(content: bytes) -> bytes:
    """Return the SHA-256 of an upload. A large one is hashed in a thread."""
    if len(content) <= INLINE_BYTES:
        return hashlib.sha256(content).digest()
    return await asyncio.to_thread(lambda: hashlib.sha256(content).digest())


async def _coalesced(future: asyncio.Future[Value | None], deadline: float) -> Value | None:
    """Return the value that another request computes, None if it fails. Raises `DeadlineExceeded`."""
    try:
        async with asyncio.timeout_at(deadline):
            return await asyncio.shield(future)
    except TimeoutError:
        raise DeadlineExceeded("An equal image was in flight, and its result came after the deadline.") from None
