"""Run work in a bounded number of slots, which callers share fairly.

The order is start-time fair queueing (Goyal, Vin and Cheng, 1996). Every caller has a tag, which grows by the cost of
the work that was started for it. The caller with the lowest tag is next, so waiting callers get equal shares, however
much work each has waiting. Within one caller, the most urgent work is first. Work that is less urgent than the default
grows the tag faster: it yields to other callers and is never starved. More urgent work overtakes only work of its own
caller.
"""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any, Final, TypeVar

from service.errors import DeadlineExceeded
from service.gateway.scheduling.request_terms import DEFAULT_URGENCY
from service.gateway.scheduling.wait_estimate import WaitEstimator, Work

Value = TypeVar("Value")

MAX_TAGS: Final = 1024  # tags in memory; beyond, those of callers without waiting work are dropped


class _Flow:
    """The waiting work of one caller, and its total cost."""

    def __init__(self) -> None:
        self.waiting: list[_Waiter] = []
        self.cost = 0.0

    def push(self, waiter: "_Waiter") -> None:
        """Add work."""
        heappush(self.waiting, waiter)
        self.cost += waiter.cost

    def pop(self) -> None:
        """Remove the work that is next."""
        self.cost -= heappop(self.waiting).cost

    def head(self) -> "_Waiter | None":
        """Return the work that is next, without what was cancelled."""
        while self.waiting and self.waiting[0].granted.done():
            heappop(self.waiting)
        return self.waiting[0] if self.waiting else None


@dataclass(order=True)
class _Waiter(Work):
    flow: _Flow = field(compare=False)
    granted: asyncio.Future[None] = field(compare=False)


class FairQueue:
    """A bounded number of slots, given to waiting callers in a fair order."""

    def __init__(self, slots: Callable[[], int], *, shared: bool = False) -> None:
        """Queue for `slots`, called each time because the number may change.

        If the slots are `shared`, one server works for all of them: the fewer are in use, the sooner each is free.
        """
        self._slots = slots
        self._flows: dict[Hashable, _Flow] = {}
        self._tags: dict[Hashable, float] = {}
        self._virtual_time = 0.0  # the highest tag that was served
        self._number = 0
        self._taken = 0
        self._running: set[asyncio.Task[Any]] = set()
        self._estimator = WaitEstimator(slots, shared=shared)
        self.service_time = self._estimator.service_time
        self.ended = 0  # pieces of work that gave their slot back

    async def run(
        self,
        work: Callable[[], Coroutine[Any, Any, Value]],
        caller: Hashable,
        *,
        urgency: int = DEFAULT_URGENCY,
        cost: float = 1.0,
    ) -> Value:
        """Return what `work` returns, or raise what it raises, once it has had a slot.

        Work that is cancelled while it waits is never started. Started work keeps its slot until it ends, even if its
        caller is cancelled: what it started on another server continues too.
        """
        waiter = self._join(caller, urgency, cost)
        self._admit()
        try:
            await waiter.granted
        except asyncio.CancelledError:
            if waiter.granted.cancelled():
                waiter.flow.cost -= waiter.cost
            else:
                self._release()
            self._estimator.learn_error(waiter, failed=True)
            raise
        task = asyncio.create_task(self._hold(work, waiter))
        self._running.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def expecting(self, caller: Hashable) -> AbstractContextManager[None]:
        """Count one more piece of this caller's work as waiting in estimates, until the context ends."""
        return self._estimator.expecting(caller)

    def wait_s(self, caller: Hashable, cost: float = 1) -> float:
        """Return the seconds until new work of this cost would be done; see `WaitEstimator.wait_s`."""
        return self._estimator.wait_s(caller, cost, self._flows, self._taken)

    def free_in_s(self) -> float:
        """Return the seconds until a slot is free; see `WaitEstimator.free_in_s`."""
        return self._estimator.free_in_s()

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs or waits."""
        return not self._taken and not any(flow.head() for flow in self._flows.values())

    @property
    def is_quiet(self) -> bool:
        """Whether nothing waits and at least two slots are free, so that one more piece of work delays no one."""
        return self._taken + 1 < self._slots() and not any(flow.head() for flow in self._flows.values())

    async def close(self) -> None:
        """Cancel the running work and wait until it has ended."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _hold(self, work: Callable[[], Coroutine[Any, Any, Value]], waiter: _Waiter) -> Value:
        scale = self._estimator.start(waiter, self._taken)
        failed = True
        try:
            value = await work()
            failed = False
        except DeadlineExceeded:
            self._estimator.note_missed_deadline(waiter)
            raise
        finally:
            self._estimator.finish(waiter, scale, failed=failed)
            self._release()
        return value

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # retrieved, or asyncio would log it when the caller has left

    def _join(self, caller: Hashable, urgency: int, cost: float) -> _Waiter:
        flow = self._flows.get(caller)
        if flow is None or flow.head() is None:
            self._tags[caller] = max(self._tags.get(caller, 0.0), self._virtual_time)
        flow = self._flows.setdefault(caller, _Flow())
        self._number += 1
        loop = asyncio.get_running_loop()
        is_free = self._taken < self._slots()
        estimated_s = self._estimator.on_arrival_s(caller, cost, self._flows, self._taken, is_free=is_free)
        waiter = _Waiter(urgency, self._number, cost, loop.time(), estimated_s, is_free, flow, loop.create_future())
        flow.push(waiter)
        return waiter

    def _release(self) -> None:
        self.ended += 1
        self._taken -= 1
        self._admit()

    def _admit(self) -> None:
        """Grant free slots to the work that is next."""
        while self._taken < self._slots() and (found := self._next()) is not None:
            caller, waiter = found
            self._flows[caller].pop()
            if self._flows[caller].head() is None:
                del self._flows[caller]
            self._virtual_time = max(self._virtual_time, self._tags[caller])
            self._tags[caller] += waiter.cost * 2 ** max(0, waiter.urgency - DEFAULT_URGENCY)
            self._taken += 1
            waiter.granted.set_result(None)
        if not self._taken or len(self._tags) > MAX_TAGS:  # in an idle queue every caller starts again from zero
            self._tags = {caller: self._tags[caller] for caller in self._flows}

    def _next(self) -> tuple[Hashable, _Waiter] | None:
        """Return the waiting caller with the lowest tag and its next work; None if nothing waits."""
        heads = {caller: flow.head() for caller, flow in self._flows.items()}
        self._flows = {caller: flow for caller, flow in self._flows.items() if heads[caller] is not None}
        waiting = [(caller, head) for caller, head in heads.items() if head is not None]
        return min(waiting, key=lambda each: (self._tags[each[0]], each[1].number), default=None)
