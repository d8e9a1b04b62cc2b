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

# Windows. The shortest latency among them is taken as that of an idle service.
REMEMBERED: Final = 4096

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
        self.pause_s = 0.0
        self._most = most
        self._fewest = fewest
        self._window: list[float] = []
        self._medians: deque[float] = deque(maxlen=REMEMBERED)
        self._was_busy = False

    def answered(self, seconds: float) -> None:
        """Note the latency of one answer. The limit changes once for as many answers as it allows at a time."""
        self._window.append(seconds)
        if len(self._window) < max(self.current, WINDOW):
            return
        latency = median(self._window)
        self._window = []
        if self._was_busy:  # these latencies contain pauses
            self._was_busy = False
            return
        self._medians.append(latency)
        idle = min(self._medians)
        queued = self.current * (1 - idle / latency) if latency > 0 else 0.0
        if queued < FEWEST_QUEUED:
            self.current = min(self._most, self.current + 1)
        elif queued > MOST_QUEUED:
            self.current = max(self._fewest, self.current - 1)
        is_slow = self.current == self._fewest and latency > SLOW * idle
        self.pause_s = min(2 * (latency - idle), LONGEST_PAUSE_S) if is_slow else 0.0

    def busy(self) -> None:
        """Halve the limit, once for each window: the service rejected a request or is away."""
        if not self._was_busy:
            self.current = max(self._fewest, self.current // 2)
            self._was_busy = True
