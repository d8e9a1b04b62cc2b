"""Log the begin and the end of an outage of something that this process depends on."""

import logging
import time
from collections.abc import Callable
from typing import Any


class Outage:
    """An outage, or none now. Its end is logged at the level of its begin, with its length."""

    def __init__(
        self, log: logging.Logger, level: int = logging.WARNING, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Write to `log`; `clock` returns seconds."""
        self._log = log
        self._level = level
        self._clock = clock
        self._since: float | None = None

    def begin(self, text: str, **fields: Any) -> None:
        """Log the begin, unless the outage has already begun."""
        if self._since is None:
            self._since = self._clock()
            self._log.log(self._level, "%s", text, extra=fields)

    def end(self, text: str, **fields: Any) -> None:
        """Log the end, if there is an outage."""
        if self._since is not None:
            seconds = round(self._clock() - self._since, 1)
            self._since = None
            self._log.log(self._level, "%s after %.1f s", text, seconds, extra={**fields, "outage_s": seconds})
