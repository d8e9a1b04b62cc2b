"""A fair queue for the slots of a model, which estimates how long new work would wait."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from functools import partial
from typing import Any, TypeVar

from service.errors import DeadlineExceeded
from service.gateway.scheduling.background import BackgroundLimit, is_background
from service.gateway.scheduling.fair_queue import FairQueue
from service.gateway.scheduling.request_terms import DEFAULT_URGENCY
from service.gateway.scheduling.wait_estimate import WaitEstimator, Work

Value = TypeVar("Value")


class ModelQueue(FairQueue):
    """A fair queue that measures its work, and estimates the wait of new work from that."""

    def __init__(
        self, slots: Callable[[], int], *, shared: bool = False, background: BackgroundLimit | None = None
    ) -> None:
        """Queue for `slots`, called each time because the number may change.

        If the slots are `shared`, one server works for all of them: the fewer are in use, the sooner each is free.
        `background` limits work of the least urgency.
        """
        super().__init__(slots, background)
        self._estimator = WaitEstimator(slots, shared=shared)
        self.service_time = self._estimator.service_time
        self.free_in_s = self._estimator.free_in_s

    def wait_s(self, caller: Hashable, cost: float = 1) -> float:
        """Return the seconds until new work of this cost would be done; see `WaitEstimator.wait_s`."""
        return self._estimator.wait_s(caller, cost, self._flows, self._taken)

    def expect(self, caller: Hashable, urgency: int = DEFAULT_URGENCY) -> None:
        """Count one more piece of this caller's work as waiting, until `expect_no_more`."""
        self._estimator.expect(caller)
        if self._background:
            self._background.expect(urgency, 1)

    def expect_no_more(self, caller: Hashable, urgency: int = DEFAULT_URGENCY) -> None:
        """End what `expect` began, because the work is about to be queued or was given up."""
        self._estimator.expect_no_more(caller)
        if self._background:
            self._background.expect(urgency, -1)
            asyncio.get_running_loop().call_soon(self._admit)  # after the work was queued, if it is

    def note_pass(self, urgency: int, seconds: float) -> None:
        """Note how long the forward pass of work of this urgency took."""
        if self._background and is_background(urgency):
            self._background.note_pass(seconds)

    async def run(
        self,
        work: Callable[[], Coroutine[Any, Any, Value]],
        caller: Hashable,
        *,
        urgency: int = DEFAULT_URGENCY,
        cost: float = 1.0,
    ) -> Value:
        """See `FairQueue.run`."""
        is_free = self._taken < self._slots()
        estimated_s = self._estimator.on_arrival_s(caller, cost, self._flows, self._taken, is_free=is_free)
        queued = Work(urgency, cost, asyncio.get_running_loop().time(), estimated_s, is_free)
        try:
            return await super().run(partial(self._measure, work, queued), caller, urgency=urgency, cost=cost)
        except asyncio.CancelledError:
            if not queued.was_started:
                self._estimator.learn_error(queued, failed=True)
            raise

    async def _measure(self, work: Callable[[], Coroutine[Any, Any, Value]], queued: Work) -> Value:
        """Return what `work` returns, and learn how long it took."""
        scale = self._estimator.start(queued, self._taken)
        failed = True
        try:
            value = await work()
            failed = False
        except DeadlineExceeded:
            self._estimator.note_missed_deadline(queued)
            raise
        finally:
            self._estimator.finish(queued, scale, failed=failed)
        return value
