"""The access log: one line for a request. Repeated failures of one kind are summed.

Lines of successful requests are gathered and written together. A line alone took 0.15 ms, since its code had left the
processor's caches (decision 0066).
"""

import logging
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from starlette.types import Scope

from service.config.log_settings import AccessLogMode
from service.gateway.metrics import PROBES

log = logging.getLogger(__name__)

WINDOW_S = 10.0
LINES: Final = 10  # of one kind of failure in a window; the others are summed.
MAX_KINDS = 1000  # of failures in a window, because callers may be many.
GATHERED: Final = 256  # lines are written without waiting for `flush`.
# Their failures are in the log of the readiness and in metrics.
UNLOGGED: Final = PROBES | {"/metrics"}
TRACEPARENT = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")  # W3C Trace Context

Kind = tuple[str, str, str]


@dataclass
class _Repeats:
    """How often a kind of failure occurred in the current window, and the last request that was not logged alone."""

    count: int = 0
    last: Mapping[str, Any] | None = None


class AccessLog:
    """Logs requests according to `mode`, which may change at any time."""

    def __init__(self, mode: AccessLogMode = "errors", clock: Callable[[], float] = time.monotonic) -> None:
        self.mode = mode
        self._clock = clock
        self._repeats: dict[Kind, _Repeats] = {}
        self._window_ends = 0.0
        self._gathered: list[tuple[float, Mapping[str, Any]]] = []

    def wants(self, route: str, status: int) -> bool:
        """Return whether a request to that route with that status is logged or summed."""
        return self.mode != "off" and route not in UNLOGGED and (self.mode == "all" or status >= 400)

    def record(self, record: Mapping[str, Any]) -> None:
        """Log a request that is wanted: `route`, `method` and `status` and more; 499 means that the caller has left.

        The line of a success is written by the next `flush`, or before the line of a failure.
        """
        if record["status"] < 400:
            self._gathered.append((time.time(), record))
            if len(self._gathered) >= GATHERED:
                self._write()
        elif self.mode == "all" or not self._is_repeated(record):
            self._write()
            _log_request(time.time(), record)

    def record_early(self, route: str, method: str, status: int, code: str, request_id: str) -> None:
        """Log a request that was rejected before the application saw it."""
        if self.wants(route, status):
            self.record({"request_id": request_id, "route": route, "method": method, "status": status, "code": code})

    def flush(self) -> None:
        """Write the gathered lines, and log the sums of the window if it has ended."""
        self._write()
        if self._repeats and self._clock() >= self._window_ends:
            repeats, self._repeats = self._repeats, {}
            for found in repeats.values():
                if found.last is not None:
                    _log_sum(found.count - LINES, found.last)

    def _write(self) -> None:
        gathered, self._gathered = self._gathered, []
        for ended, record in gathered:
            _log_request(ended, record)

    def _is_repeated(self, record: Mapping[str, Any]) -> bool:
        """Return whether this kind of failure was logged often enough in this window; count it."""
        self.flush()
        if not self._repeats:
            self._window_ends = self._clock() + WINDOW_S
        kind = record["route"], str(record.get("code", record["status"])), record.get("caller", "")
        if kind not in self._repeats and len(self._repeats) >= MAX_KINDS:
            kind = (*kind[:2], "")
        found = self._repeats.setdefault(kind, _Repeats())
        found.count += 1
        if found.count <= LINES:
            return False
        found.last = record
        return True


def record_of(scope: Scope, status: int, seconds: float) -> dict[str, Any]:
    """Return what is logged of a request: no content of an upload, no name of a file, no key, no query."""
    state = scope["state"]
    record = {
        "request_id": state["request_id"],
        "trace_id": state.get("trace_id") or trace_id_of(scope["headers"]),
        "route": state["route"],
        "method": scope["method"],
        "status": status,
        "code": state.get("code"),
        "caller": state["permit"].caller.label if "permit" in state else None,
        **state.get("facts", {}),
        "total_ms": round(seconds * 1000, 2),
    }
    return {name: value for name, value in record.items() if value is not None}


def trace_id_of(lines: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the trace id of the header `traceparent`, None without a valid one."""
    given = next((value for name, value in lines if name == b"traceparent"), b"")
    found = TRACEPARENT.fullmatch(given)
    return found[1].decode() if found else None


def _log_request(ended: float, record: Mapping[str, Any]) -> None:
    """Log the line of a request that ended at `ended`, in seconds since the epoch."""
    level = logging.WARNING if record["status"] >= 500 else logging.INFO
    if log.isEnabledFor(level):
        line = log.makeRecord(log.name, level, "", 0, "request", (), None, extra=record)
        line.created, line.msecs = ended, ended % 1 * 1000
        log.handle(line)


def _log_sum(count: int, last: Mapping[str, Any]) -> None:
    fields = {name: last[name] for name in ("route", "method", "status", "code", "caller") if name in last}
    extra = {**fields, "count": count, "seconds": WINDOW_S, "last_request_id": last.get("request_id")}
    log.warning("%d more requests failed alike", count, extra=extra)
