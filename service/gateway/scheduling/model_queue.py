"""A fair queue for the slots of a model, which estimates how long new work would wait."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Coroutine, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

from service.errors import DeadlineExceeded
from service.gateway.scheduling.background import BackgroundLimit, is_background
from service.gateway.scheduling.fair_queue import FairQueue
from service.gateway.scheduling.request_terms import DEFAULT_URGENCY
from service.gateway.scheduling.wait_estimate import TurnTime, WaitEstimator, Work, fair_cost

Value = TypeVar("Value")

# Kinds of work: whether it is background work.
INTERACTIVE_ONLY: Final = (False,)
BACKGROUND_ONLY: Final = (True,)
EVERY_KIND: Final = (False, True)


@dataclass(eq=False)
class Expectation:
    """A piece of work that will be queued soon, and its queue."""

    queue: "ModelQueue"
    caller: Hashable
    urgency: int
    is_over: bool = False  # the work was queued or given up


class ModelQueue(FairQueue):
    """A fair queue that measures its work, and estimates the wait of new work from that."""

    def __init__(
        self, slots: Callable[[], int], *, shared: bool = False, background: BackgroundLimit | None = None
    ) -> None:
        """Queue for `slots`, called each time because the number may change.

        If the slots are `shared`, one server works for all of them: the fewer are in use, the sooner each is free.
        `background` limits work of the least urgency, in all queues that share it.
        """
        super().__init__(slots, background)
        self._estimator = WaitEstimator(slots, shared=shared)
        self._turn_time = TurnTime()
        # Work that will be queued soon, by caller: interactive work, and background work.
        self._expected: dict[bool, Counter[Hashable]] = {False: Counter(), True: Counter()}
        self.service_time = self._estimator.service_time
        self.free_in_s = self._estimator.free_in_s

    def wait_s(self, caller: Hashable, cost: float = 1, urgency: int = DEFAULT_URGENCY) -> float:
        """Return the seconds until new work of this cost would be done; see `WaitEstimator.wait_s`.

        While background work is limited, it waits at least for its turns. If none waits, the estimate leaves them out:
        the work that is admitted then provides the next sample.
        """
        wait_s = self._estimator.wait_s(caller, cost, self._costs_before(urgency), self._taken)
        if self._background and self._background.is_active and is_background(urgency):
            before = self._costs(BACKGROUND_ONLY)
            if any(before.values()):
                pieces = fair_cost(caller, cost, before)
                wait_s = max(wait_s, self._turn_time.wait_s(pieces, is_waiting=self._background_waits))
        return wait_s

    def expect(self, caller: Hashable, urgency: int = DEFAULT_URGENCY) -> Expectation:
        """Count one more piece of this caller's work as waiting, until it is queued by `run` or given up."""
        self._expected[is_background(urgency)][caller] += 1
        if self._background:
            self._background.begin(urgency)
        return Expectation(self, caller, urgency)

    def expect_no_more(self, expected: Expectation) -> None:
        """Give up the work, if it was not queued."""
        if self._end_expectation(expected):
            self._end(expected.urgency)

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
        expected: Expectation | None = None,
    ) -> Value:
        """See `FairQueue.run`. The work may have been `expected`.

        No other work can start between the end of the expectation and the moment at which the work waits.
        """
        if expected is not None and self._end_expectation(expected) and self._background:
            self._background.end(urgency)
        if is_background(urgency) and not self._background_waits:
            self._turn_time.note_first()
        is_free = self._taken < self._slots()
        before = self._costs_before(urgency)
        estimated_s = self._estimator.on_arrival_s(caller, cost, before, self._taken, is_free=is_free)
        queued = Work(urgency, cost, asyncio.get_running_loop().time(), estimated_s, is_free)
        try:
            return await super().run(partial(self._measure, work, queued), caller, urgency=urgency, cost=cost)
        except asyncio.CancelledError:
            if not queued.was_started:
                self._estimator.learn_error(queued, failed=True)
            raise

    async def _measure(self, work: Callable[[], Coroutine[Any, Any, Value]], queued: Work) -> Value:
        """Return what `work` returns, and learn how long it took."""
        if self._background and is_background(queued.urgency):
            self._turn_time.note_start(is_sample=self._background.is_active)
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

    @property
    def _background_waits(self) -> bool:
        return any(flow.costs[True] for flow in self._flows.values())

    def _end_expectation(self, expected: Expectation) -> bool:
        """Count the work as expected no longer. Return whether it was."""
        if expected.is_over:
            return False
        expected.is_over = True
        counts = self._expected[is_background(expected.urgency)]
        counts[expected.caller] -= 1
        if not counts[expected.caller]:
            del counts[expected.caller]
        return True

    def _costs_before(self, urgency: int) -> dict[Hashable, float]:
        """Return the cost, by caller, of the work that new work of this urgency may have to wait for.

        Waiting background work is not before interactive work: it is held back as long as that waits.
        """
        if self._background is None or is_background(urgency):
            return self._costs(EVERY_KIND)
        return self._costs(INTERACTIVE_ONLY)

    def _costs(self, kinds: Sequence[bool]) -> dict[Hashable, float]:
        """Return the cost of the work that waits or is expected, by caller."""
        costs: defaultdict[Hashable, float] = defaultdict(float)
        for kind in kinds:
            for caller, count in self._expected[kind].items():
                costs[caller] += count
            for caller, flow in self._flows.items():
                costs[caller] += flow.costs[kind]
        return costs
