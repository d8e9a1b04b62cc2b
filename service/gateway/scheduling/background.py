"""How much background work may run beside interactive work, whose callers wait.

Work of the least urgency is background work, all other work is interactive. A forward pass cannot be interrupted, so an
interactive image that comes during one of background work waits for its end. While a model has interactive work,
background work therefore starts only when none of that runs or is decoded, and only as many images as fit into a short
pass.
"""

import asyncio
from collections.abc import Callable
from typing import Final

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


class BackgroundLimit:
    """Counts the running work of both kinds, and says whether background work may start.

    The limit begins at a piece for each worker. It follows the time of passes: it grows while they are shorter than
    `PASS_S`, and shrinks while they are longer.
    """

    def __init__(self, workers: Callable[[], int]) -> None:
        """Allow a piece for each of `workers`, called each time because the number may change, or more."""
        self._workers = workers
        self._extra = 0
        self._expected = 0  # pieces of interactive work that will be queued soon
        self._interactive = 0  # pieces of interactive work that run
        self._background = 0
        self._since_turn = 0  # pieces of interactive work that were started since the last background work
        self._arrived_at = float("-inf")  # loop time at which interactive work last came

    def expect(self, urgency: int, pieces: int) -> None:
        """Note that so many more pieces of work will be queued soon, or fewer if it is negative."""
        if not is_background(urgency):
            self._expected += pieces

    def arrived(self, urgency: int) -> None:
        """Note that work was queued."""
        if not is_background(urgency):
            self._arrived_at = asyncio.get_running_loop().time()

    def started(self, urgency: int) -> None:
        """Note that work began to run."""
        if is_background(urgency):
            self._background += 1
            self._since_turn = 0
        else:
            self._interactive += 1
            self._since_turn += 1

    def ended(self, urgency: int) -> None:
        """Note that work ended."""
        if is_background(urgency):
            self._background -= 1
        else:
            self._interactive -= 1

    def note_pass(self, seconds: float) -> None:
        """Note how long the pass of a background image took."""
        self._extra = self._extra + 1 if seconds < PASS_S else max(0, self._extra - 1)

    @property
    def holds_back(self) -> bool:
        """Whether background work has to wait, although a slot is free."""
        if asyncio.get_running_loop().time() - self._arrived_at > RECENT_S:
            return False
        if self._background >= self._workers() + self._extra:
            return True
        return self._interactive + self._expected > 0 and self._since_turn < TURNS
