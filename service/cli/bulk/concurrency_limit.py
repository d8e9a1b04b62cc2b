"""How many requests to have in flight, learnt from their latencies, so that the run yields to other callers.

This is the delay-based control of TCP Vegas and LEDBAT (RFC 6817), for requests instead of packets.
"""

from collections import deque
from statistics import median
from typing import Final

# Images that may wait in the service beside those that it works on.
FEWEST_QUEUED, MOST_QUEUED = 0.5, 1.0

# Answers for one decision at least. Single latencies differ with the images.
WINDOW: Final = 8

# Windows whose latencies are remembered. The shortest one is taken as that of an idle service.
REMEMBERED: Final = 256

# Windows between two probes: a window with the fewest requests in flight, whose latency contains none of their own
# waiting. Otherwise the shortest latency that is remembered would grow with the limit, and the limit with it.
PROBE_EVERY: Final = 64

# In idle latencies. If a single request in flight takes longer, there are pauses.
SLOW: Final = 1.5
LONGEST_PAUSE_S: Final = 2.0


class ConcurrencyLimit:
    """A limit that grows while latencies stay low, shrinks when images queue, and halves when the service is busy.

    The number of its images that wait in the service is estimated as limit x (1 - idle latency / latency). Latencies
    also grow with the work of other callers, so the limit yields to them. `pause_s` is the time to wait before each
    request: above 0 if the service is slow although only the fewest requests are in flight.
    """

    def __init__(self, most: int, fewest: int = 1) -> None:
        """Begin with the `fewest` requests in flight and never exceed `most`."""
        self.current = fewest
        self.most = most
        self.pause_s = 0.0
        self._fewest = fewest
        self._window: list[float] = []
        self._medians: deque[float] = deque(maxlen=REMEMBERED)
        self._windows = 0
        self._before_probe: int | None = None  # the limit to return to; None if there is no probe
        self._stale = 0  # answers that are still to come of the limit before a probe
        self._idle_answers = 0
        self._was_busy = False

    def answered(self, seconds: float) -> None:
        """Note the latency of an answer that a model computed.

        The limit changes once for as many answers as it allows at a time.
        """
        self._idle_answers = 0
        if self._stale:
            self._stale -= 1
            return
        self._window.append(seconds)
        if len(self._window) < self._answers_needed:
            return
        latency = median(self._window)
        self._window = []
        if self._was_busy:  # these latencies are of the limit before
            self._was_busy = False
            return
        self._medians.append(latency)
        self._windows += 1
        if self._before_probe is not None:
            self.current, self._before_probe = self._before_probe, None
            return
        self._follow(latency)
        if self._windows % PROBE_EVERY == 0 and self.current > self._fewest:
            self._before_probe = self._stale = self.current
            self.current = self._fewest

    def answered_without_work(self) -> None:
        """Note an answer that no model computed: a problem of the image, or a cached answer. Its latency says nothing.

        If there are only such answers, as many as the limit allows at a time let it grow.
        """
        self._idle_answers += 1
        if self._idle_answers < self._answers_needed:
            return
        self._idle_answers = self._stale = 0
        self._was_busy = False
        self.pause_s = 0.0
        self.current = min(self.most, (self._before_probe or self.current) + 1)
        self._before_probe = None

    def busy(self) -> None:
        """Halve the limit, once for each window: the service rejected a request or is away."""
        if not self._was_busy:
            self.current = max(self._fewest, (self._before_probe or self.current) // 2)
            self._before_probe = None
            self._was_busy = True

    @property
    def _answers_needed(self) -> int:
        return max(self.current, WINDOW)

    def _follow(self, latency: float) -> None:
        """Change the limit by one, and set the pause, after a window with this median latency in seconds."""
        idle = min(self._medians)
        queued = self.current * (1 - idle / latency) if latency > 0 else 0.0
        if queued < FEWEST_QUEUED:
            self.current = min(self.most, self.current + 1)
        elif queued > MOST_QUEUED:
            self.current = max(self._fewest, self.current - 1)
        is_slow = self.current == self._fewest and latency > SLOW * idle
        self.pause_s = min(2 * (latency - idle), LONGEST_PAUSE_S) if is_slow else 0.0
