"""Bounded places for work, given to those who wait in a fair order.

The order is start-time fair queueing (Goyal, Vin and Cheng, 1996): every caller has a tag that grows by the cost of
what it was given, and the lowest tag is next, so that callers who wait get equal shares however much each has waiting.
Among one caller's own work the most urgent is first. Less urgent work than usual grows the tag faster: it gives way to
others, and is never starved; more urgent work than usual overtakes none but the caller's own.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any, TypeVar

from service.errors import DeadlineExceeded
from service.gateway.scheduling.error_margin import ErrorMargin
from service.gateway.scheduling.request_terms import URGENCY
from service.gateway.scheduling.service_time import ServiceTime

Value = TypeVar("Value")

WARY_S = 60.0  # after an answer that was late, nobody is let in for the mere reason that a place is free
TAGS = 1024  # callers that are remembered; beyond, those with nothing waiting are forgotten


class _Flow:
    """What one caller has waiting, and what that costs."""

    def __init__(self) -> None:
        self.waiting: list[_Waiter] = []
        self.cost = 0.0

    def push(self, waiter: "_Waiter") -> None:
        """Have one more waiting."""
        heappush(self.waiting, waiter)
        self.cost += waiter.cost

    def pop(self) -> None:
        """Have the next one waiting no longer."""
        self.cost -= heappop(self.waiting).cost

    def head(self) -> "_Waiter | None":
        """The next of the waiting that is still wanted."""
        while self.waiting and self.waiting[0].granted.done():
            heappop(self.waiting)
        return self.waiting[0] if self.waiting else None


@dataclass(order=True)
class _Waiter:
    urgency: int
    number: int
    cost: float = field(compare=False)
    flow: _Flow = field(compare=False)
    since: float = field(compare=False)  # in the loop's time
    foretold_s: float = field(compare=False)  # until it would end; 0 where nothing was foretold
    at_most: bool = field(compare=False)  # whether that is the longest, since a place was free
    granted: asyncio.Future[None] = field(compare=False)


class FairQueue:
    """So many places, given to callers in turn."""

    def __init__(self, places: Callable[[], int], *, shared: bool = False) -> None:
        """`places` is asked each time, so that their number may change. Where they are `shared`, one server works for
        all of them: the fewer are taken, the sooner each is free.
        """
        self._places = places
        self._shared = shared
        self._flows: dict[Hashable, _Flow] = {}
        self._tags: dict[Hashable, float] = {}
        self._coming: Counter[Hashable] = Counter()
        self._now = 0.0  # the tag that was served last
        self._number = 0
        self._taken = 0
        self._running: set[asyncio.Task[Any]] = set()
        self._late_at = float("-inf")
        self._begun: dict[int, float] = {}  # by the number of what runs, in the loop's time
        self.pace = ServiceTime()
        self._margin = ErrorMargin()
        self.ended = 0  # so many pieces

    async def run(
        self,
        work: Callable[[], Coroutine[Any, Any, Value]],
        caller: Hashable,
        *,
        urgency: int = URGENCY,
        cost: float = 1.0,
    ) -> Value:
        """What `work` returns or raises; it is begun when its turn has come, and never if cancelled before.

        Begun work keeps its place until it ends, even when nobody waits for it any more: what it set going elsewhere
        goes on too.
        """
        waiter = self._join(caller, urgency, cost)
        self._let_in()
        try:
            await waiter.granted
        except asyncio.CancelledError:
            if waiter.granted.cancelled():
                waiter.flow.cost -= waiter.cost
            else:
                self._leave(waiter)
            self._compare(waiter, failed=True)
            raise
        task = asyncio.create_task(self._held(work, waiter))
        self._running.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    @contextmanager
    def expecting(self, caller: Hashable) -> Iterator[None]:
        """While a piece of this caller's work is on its way here: whoever comes after it will find it before them."""
        self._coming[caller] += 1
        try:
            yield
        finally:
            self._coming[caller] -= 1
            if not self._coming[caller]:
                del self._coming[caller]

    def wait_s(self, caller: Hashable, pieces: int = 1) -> float:
        """Seconds until so many more pieces of this caller's work would all be done, and few are not by then.

        0 where nothing is known yet, or nobody is there, or a place is free and nothing was late of late: the work that
        is let in then shows the pace.
        """
        return self._foretold_s(caller, pieces) * (1 + self._margin.share)

    def _foretold_s(self, caller: Hashable, pieces: float) -> float:
        """As `wait_s`, on average."""
        waiting = {key: flow.cost for key, flow in self._flows.items()}
        queued = sum(waiting.values()) + self._coming.total()
        if self.pace.mean_s is None or not (queued or self._taken):
            return 0.0
        places = self._places()
        inside = self._taken + queued + pieces
        wary = self._is_wary
        if inside <= places and not wary:
            return 0.0
        # Who finds a few here waits for the batch that they are in, and then for one with as many that came meanwhile.
        busy = min(places, 2 * inside) if self._shared and wary else places
        for key, count in self._coming.items():
            waiting[key] = waiting.get(key, 0.0) + count
        mine = waiting.pop(caller, 0.0) + pieces
        before = mine + sum(min(cost, mine) for cost in waiting.values())
        return self.pace.mean_s * (busy + max(0, before - max(0, places - self._taken))) / places

    @property
    def _is_wary(self) -> bool:
        return asyncio.get_running_loop().time() - self._late_at < WARY_S

    def free_in_s(self) -> float:
        """Seconds until a place is free, by the pace of late; 0 where one is, or nothing is known yet."""
        if self.pace.mean_s is None or len(self._begun) < self._places():
            return 0.0
        return max(0.0, min(self._begun.values()) + self.pace.mean_s - asyncio.get_running_loop().time())

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs or waits."""
        return not self._taken and not any(flow.head() for flow in self._flows.values())

    @property
    def is_quiet(self) -> bool:
        """Whether nothing waits, and nothing more would wait if one place more were taken."""
        return self._taken + 1 < self._places() and not any(flow.head() for flow in self._flows.values())

    async def close(self) -> None:
        """Cancel what runs, and wait for its end."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _held(self, work: Callable[[], Coroutine[Any, Any, Value]], waiter: _Waiter) -> Value:
        loop = asyncio.get_running_loop()
        self._begun[waiter.number] = started = loop.time()
        crowd = self._places() / max(1, self._taken) if self._shared else 1.0
        failed = True
        try:
            value = await work()
            failed = False
        except DeadlineExceeded:
            if (
                self.pace.mean_s is None or loop.time() - waiter.since >= self.pace.mean_s
            ):  # not after a time nobody could keep
                self._late_at = loop.time()
            raise
        finally:
            del self._begun[waiter.number]
            self.pace.note((loop.time() - started) / waiter.cost, crowd, failed=failed)
            self._compare(waiter, failed=failed)
            self._leave(waiter)
        return value

    def _compare(self, waiter: _Waiter, *, failed: bool) -> None:
        """Learn from when it ended, or was given up. The less urgent is overtaken by more than was foretold."""
        if waiter.foretold_s and waiter.urgency == URGENCY:
            took_s = asyncio.get_running_loop().time() - waiter.since
            if waiter.at_most:  # to have been sooner than that says nothing of those who have to wait
                took_s = max(took_s, waiter.foretold_s)
            self._margin.note(waiter.foretold_s, took_s, at_least=failed)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # asyncio would log it where the caller has left and nobody else asks

    def _join(self, caller: Hashable, urgency: int, cost: float) -> _Waiter:
        flow = self._flows.get(caller)
        if flow is None or flow.head() is None:
            self._tags[caller] = max(self._tags.get(caller, 0.0), self._now)
        flow = self._flows.setdefault(caller, _Flow())
        self._number += 1
        loop = asyncio.get_running_loop()
        is_free = self._taken < self._places()
        foretold_s = self._foretold_s(caller, cost) if self._is_wary or not is_free else 0.0
        waiter = _Waiter(urgency, self._number, cost, flow, loop.time(), foretold_s, is_free, loop.create_future())
        flow.push(waiter)
        return waiter

    def _leave(self, waiter: _Waiter) -> None:
        self.ended += 1
        self._taken -= 1
        self._let_in()

    def _let_in(self) -> None:
        while self._taken < self._places() and (found := self._next()) is not None:
            caller, waiter = found
            self._flows[caller].pop()
            if self._flows[caller].head() is None:
                del self._flows[caller]
            self._now = max(self._now, self._tags[caller])
            self._tags[caller] += waiter.cost * 2 ** max(0, waiter.urgency - URGENCY)
            self._taken += 1
            waiter.granted.set_result(None)
        if not self._taken or len(self._tags) > TAGS:  # to an empty house nobody owes anything
            self._tags = {caller: self._tags[caller] for caller in self._flows}

    def _next(self) -> tuple[Hashable, _Waiter] | None:
        """The caller of the lowest tag among those who wait, and their next work."""
        heads = {caller: flow.head() for caller, flow in self._flows.items()}
        self._flows = {caller: flow for caller, flow in self._flows.items() if heads[caller] is not None}
        waiting = [(caller, head) for caller, head in heads.items() if head is not None]
        return min(waiting, key=lambda each: (self._tags[each[0]], each[1].number), default=None)
