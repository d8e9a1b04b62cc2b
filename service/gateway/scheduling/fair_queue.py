"""Run work in a bounded number of slots, which callers share fairly.

The order is start-time fair queueing (Goyal, Vin and Cheng, 1996). Every caller has a tag, which grows by the cost of
the work that was started for it. The caller with the lowest tag is next, so waiting callers get equal shares, however
much work each has waiting. Within one caller, the most urgent work is first. Work that is less urgent than the default
grows the tag faster: it yields to other callers and is never starved. More urgent work overtakes only work of its own
caller. With a `BackgroundLimit`, work of the least urgency also leaves slots free.
"""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from functools import partial
from heapq import heappop, heappush
from typing import Any, Final, TypeVar

from service.gateway.scheduling.background import BackgroundLimit, is_background
from service.gateway.scheduling.request_terms import DEFAULT_URGENCY

Value = TypeVar("Value")

MAX_TAGS: Final = 1024  # tags in memory; beyond, those of callers without waiting work are dropped


class _Flow:
    """The waiting work of one caller, and its total cost by kind."""

    def __init__(self) -> None:
        self.waiting: list[tuple[int, int, _Waiter]] = []  # a heap by urgency, then by arrival
        self.costs = {False: 0.0, True: 0.0}  # of interactive work, and of background work

    def push(self, waiter: "_Waiter") -> None:
        """Add work."""
        heappush(self.waiting, (waiter.urgency, waiter.number, waiter))
        self.add_cost(waiter, 1)

    def pop(self) -> None:
        """Remove the work that is next."""
        self.add_cost(heappop(self.waiting)[2], -1)

    def add_cost(self, waiter: "_Waiter", sign: int) -> None:
        """Add the cost of work if `sign` is 1, or remove it if -1."""
        self.costs[is_background(waiter.urgency)] += sign * waiter.cost

    def head(self) -> "_Waiter | None":
        """Return the work that is next, without what was cancelled."""
        while self.waiting and self.waiting[0][2].outcome.done():
            heappop(self.waiting)
        return self.waiting[0][2] if self.waiting else None


@dataclass(eq=False)
class _Waiter:
    """A piece of work: its number in the order of arrival, the waiting work of its caller, and its outcome."""

    urgency: int
    number: int
    cost: float
    flow: _Flow
    run: Callable[[], Coroutine[Any, Any, Any]]
    outcome: asyncio.Future[Any]
    has_slot: bool = False


class FairQueue:
    """A bounded number of slots, given to waiting callers in a fair order."""

    def __init__(self, slots: Callable[[], int], background: BackgroundLimit | None = None) -> None:
        """Queue for `slots`, called each time because the number may change.

        `background` limits the slots of work of the least urgency, in all queues that share it.
        """
        self._slots = slots
        self._background = background
        self._flows: dict[Hashable, _Flow] = {}
        self._tags: dict[Hashable, float] = {}
        self._virtual_time = 0.0  # the highest tag that was served
        self._number = 0
        self._taken = 0
        self._running: set[asyncio.Task[Any]] = set()
        self.ended = 0  # pieces of work that gave their slot back
        if background:
            background.share(self)

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
        waiter = self._join(work, caller, urgency, cost)
        if self._background:
            self._background.begin(urgency)
            self._background.arrived(urgency)
        self.admit()
        try:
            value: Value = await waiter.outcome
        except asyncio.CancelledError:
            if not waiter.has_slot:
                waiter.flow.add_cost(waiter, -1)
                self._end(urgency)
            raise
        return value

    def admit(self) -> None:
        """Start the work that is next, while slots are free."""
        slots = self._slots()
        while self._flows and self._taken < slots and (found := self._next()) is not None:
            caller, waiter = found
            waiter.flow.pop()
            if waiter.flow.head() is None:
                del self._flows[caller]
            self._virtual_time = max(self._virtual_time, self._tags[caller])
            self._tags[caller] += waiter.cost * 2 ** max(0, waiter.urgency - DEFAULT_URGENCY)
            self._taken += 1
            if self._background:
                self._background.started(waiter.urgency, self)
            waiter.has_slot = True
            task = asyncio.create_task(self._hold(waiter))
            self._running.add(task)
            task.add_done_callback(partial(self._ended, waiter))
        if not self._taken or len(self._tags) > MAX_TAGS:  # in an idle queue every caller starts again from zero
            self._tags = {caller: self._tags[caller] for caller in self._flows}

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

    async def _hold(self, waiter: _Waiter) -> None:
        """Run work that has a slot, unless it was cancelled since, and give the slot back."""
        outcome = waiter.outcome
        try:
            if outcome.cancelled():
                return
            value = await waiter.run()
            if not outcome.cancelled():
                outcome.set_result(value)
        except Exception as error:
            if not outcome.cancelled():
                outcome.set_exception(error)
        finally:
            self._release(waiter)

    def _ended(self, waiter: _Waiter, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        waiter.outcome.cancel()  # no effect unless the task was cancelled

    def _join(
        self, work: Callable[[], Coroutine[Any, Any, Any]], caller: Hashable, urgency: int, cost: float
    ) -> _Waiter:
        flow = self._flows.get(caller)
        if flow is None or flow.head() is None:
            self._tags[caller] = max(self._tags.get(caller, 0.0), self._virtual_time)
        flow = self._flows.setdefault(caller, _Flow())
        self._number += 1
        outcome = asyncio.get_running_loop().create_future()
        waiter = _Waiter(urgency, self._number, cost, flow, work, outcome)
        flow.push(waiter)
        return waiter

    def _release(self, waiter: _Waiter) -> None:
        self.ended += 1
        self._taken -= 1
        if self._background:
            self._background.stopped(waiter.urgency)
        self._end(waiter.urgency)

    def _end(self, urgency: int) -> None:
        """Start what may start because a piece of work has ended or was given up."""
        if self._background is None:
            self.admit()
            return
        self._background.end(urgency)
        self._background.admit()

    def _next(self) -> tuple[Hashable, _Waiter] | None:
        """Return the waiting caller with the lowest tag and its next work; None if nothing waits that may start."""
        heads = [(caller, flow.head()) for caller, flow in self._flows.items()]
        waiting = [(self._tags[caller], head.number, caller, head) for caller, head in heads if head is not None]
        if len(waiting) < len(heads):  # all work of some was cancelled
            self._flows = {caller: head.flow for _, _, caller, head in waiting}
        if self._background and self._background.holds_back(self):
            waiting = [each for each in waiting if not is_background(each[3].urgency)]
        return min(waiting)[2:] if waiting else None  # no two have the same number
