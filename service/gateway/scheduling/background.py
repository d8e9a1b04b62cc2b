"""How much background work may run beside interactive work, whose callers wait.

Work of the least urgency is background work, all other work is interactive. A forward pass cannot be interrupted, so an
interactive image that comes during one of background work waits for its end. So while a model has interactive work,
background work starts only when no interactive image is decoded, waits or runs. It then has only as many images as fit
into a short pass.
"""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from service.gateway.scheduling.request_terms import DEFAULT_URGENCY

BACKGROUND: Final = 7  # RFC 9218, section 4.1: "background"
# For so long after the last interactive work, background work is held back.
RECENT_S: Final = 30.0
# After so many pieces of interactive work, one piece of background work has its turn, so that it is never starved.
TURNS: Final = 2 ** (BACKGROUND - DEFAULT_URGENCY)
# How long a pass of background images may take. On a CPU, a single image takes as long or longer; a GPU computes many.
PASS_S: Final = 0.01


def is_background(urgency: int) -> bool:
    """Return whether work of this urgency is background work."""
    return urgency >= BACKGROUND


class Queue(Protocol):
    """A queue with work of both kinds."""

    def admit(self) -> None:
        """Start the work that may start now."""


class BackgroundLimit:
    """Counts the work of both kinds in all queues of one model, and says whether background work may start.

    The limit begins at a piece for each worker, and never exceeds the slots. It follows the time of passes: it grows
    while it is reached and they are shorter than `PASS_S`, and shrinks while they are longer.
    """

    def __init__(self, workers: Callable[[], int], slots: Callable[[], int]) -> None:
        """Allow one to `slots` pieces for `workers`. Both are called each time because the numbers may change."""
        self._workers = workers
        self._slots = slots
        self._extra = 0
        self._was_reached = False  # Whether the limit was, since the last pass.
        self._interactive = 0  # Pieces of interactive work that are expected, wait or run.
        self._background = 0  # Pieces of background work that run.
        # For each queue, the pieces of interactive work that were started since its last background work. The queue
        # with the latest background work is last.
        self._since_turn: dict[Queue, int] = {}
        self._arrived_at = float("-inf")  # loop time at which interactive work last came

    def share(self, queue: Queue) -> None:
        """Limit the background work of this queue too."""
        self._since_turn[queue] = 0

    def admit(self) -> None:
        """Start what may start now in all queues: the work of one queue holds back that of the others."""
        for queue in tuple(self._since_turn):
            queue.admit()

    def begin(self, urgency: int) -> None:
        """Note that a piece of work was queued or is expected."""
        self._interactive += not is_background(urgency)

    def end(self, urgency: int) -> None:
        """End what `begin` began, because the work has ended or was given up. `admit` has to follow."""
        self._interactive -= not is_background(urgency)

    def arrived(self, urgency: int) -> None:
        """Note that work was queued."""
        if not is_background(urgency):
            self._arrived_at = asyncio.get_running_loop().time()

    def started(self, urgency: int, queue: Queue) -> None:
        """Note that work of a queue began to run."""
        if is_background(urgency):
            self._background += 1
            self._was_reached |= self._background >= self._limit
            del self._since_turn[queue]
            self._since_turn[queue] = 0
        else:
            for each in self._since_turn:
                self._since_turn[each] += 1

    def stopped(self, urgency: int) -> None:
        """Note that work runs no longer."""
        self._background -= is_background(urgency)

    def note_pass(self, seconds: float) -> None:
        """Note how long the pass of a background image took."""
        if seconds >= PASS_S:
            self._extra = max(0, self._extra - 1)
        elif self._was_reached:
            self._extra = max(0, min(self._extra + 1, self._slots() - self._workers()))
        self._was_reached = False

    @property
    def is_active(self) -> bool:
        """Whether interactive work came recently, so that background work is limited."""
        return asyncio.get_running_loop().time() - self._arrived_at <= RECENT_S

    def holds_back(self, queue: Queue) -> bool:
        """Return whether background work of a queue has to wait, although a slot is free."""
        if not self.is_active:
            return False
        return self._background >= self._limit or (self._interactive > 0 and self._since_turn[queue] < TURNS)

    @property
    def _limit(self) -> int:
        return self._workers() + self._extra
