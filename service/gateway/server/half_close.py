"""Tells a client that has sent everything, and closed only its sending side, from one that has gone.

Both send the same: the end of their data. Only the latter answers further data with a reset. So the server sends an
interim response, `100 Continue`, which a client must accept at any time (RFC 9110, section 15.2).
"""

import asyncio
from collections.abc import Callable
from typing import Final

INTERIM: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
# The reset takes one round trip, and the next interim response finds the connection reset. On one host that is at once.
FIRST_PAUSE_S: Final = 0.002
LONGEST_PAUSE_S: Final = 5.0


class HalfClose:
    """Sends interim responses with growing pauses until the response begins, which `is_waiting` reports."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, send: Callable[[bytes], None], is_waiting: Callable[[], bool]
    ) -> None:
        self._loop = loop
        self._send = send
        self._is_waiting = is_waiting
        self._pause_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Send the first interim response: the client has ended its data."""
        if not self._is_waiting():
            return
        self._send(INTERIM)
        self._timer = self._loop.call_later(self._pause_s, self.begin)
        self._pause_s = min(max(FIRST_PAUSE_S, 2 * self._pause_s), LONGEST_PAUSE_S)

    def end(self) -> None:
        """Send no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
