"""Refusals told again: to who asks the same once more while nothing was given back, before any of the app is asked.

Of a flood by few callers most are such, and a whole one takes several times as much of a processor (decision 0046).
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

import orjson
from starlette.types import Scope

from service.errors import Overloaded
from service.gateway.access.middleware import LET_IN
from service.gateway.access.rate_limit import Permit
from service.gateway.http.problems import document, headers_of
from service.gateway.metrics import Metrics

KEPT_S = 0.05  # meanwhile keys may be withdrawn, and workers come
MOST = 256
MOST_BYTES = 4096  # of a head
KEY_BYTES = 32
# What no refusal at the door depends on, and what may differ from one request to the next.
ASIDE: Final = frozenset((b"content-length", b"content-type", b"traceparent", b"tracestate", b"x-request-id"))
# With these an answer says or does more.
APART: Final = frozenset((b"expect", b"origin", b"transfer-encoding", b"upgrade"))

Lines = Iterable[tuple[bytes, bytes]]
Client = tuple[str, int] | None
Server = tuple[str, int | None] | None


@dataclass(frozen=True)
class CachedRejection:
    """A refusal as it is told again: by whom it was asked for, where, and what its problem is."""

    until: float
    caller: str
    route: str
    method: str
    problem: Mapping[str, object]
    headers: Lines

    def content(self, request_id: str) -> bytes:
        """The problem document."""
        return orjson.dumps({**self.problem, "request_id": request_id})

    def count(self, metrics: Metrics, took_s: float) -> None:
        """Count it as the app would have."""
        metrics.callers.labels(self.caller, LET_IN).inc()
        metrics.problems.labels(self.problem["code"]).inc()
        metrics.requests.labels(self.route, self.method, str(self.problem["status"])).inc()
        metrics.duration.labels(self.route, self.method).observe(took_s)


class RejectionCache:
    """The latest refusals for want of room, by who asked and what."""

    def __init__(self, given_back: Callable[[], int], is_draining: Callable[[], bool]) -> None:
        """`given_back` grows whenever there is more room than before."""
        self._given_back = given_back
        self._is_draining = is_draining
        self._kept: dict[bytes, CachedRejection] = {}
        self._before = 0

    def keep(self, scope: Scope, error: Overloaded) -> None:
        """Keep the refusal of a request of which nothing but its head was looked at.

        Not for callers with limits, who pay for refusals too, nor where chance chose the model.
        """
        state, lines = scope["state"], scope["headers"]
        visit: Permit = state["visit"]
        if visit.is_limited or state.get("by_chance") or any(name in APART for name, _ in lines):
            return
        query, path = scope["query_string"], scope["raw_path"]
        url = path + b"?" + query if query else path
        key = key_of(scope["method"], url, scope["client"], scope["server"], lines)
        if key is None:
            return
        given_back = self._given_back()
        if self._before != given_back or (len(self._kept) >= MOST and key not in self._kept):
            self._kept.clear()
            self._before = given_back
        self._kept[key] = CachedRejection(
            time.perf_counter() + KEPT_S,
            visit.caller.label,
            state["route"],
            scope["method"],
            document(scope["path"], error, ""),
            [(name.lower().encode(), value.encode()) for name, value in headers_of(error).items()],
        )

    def __bool__(self) -> bool:
        """Whether anything is kept."""
        return bool(self._kept)

    def find(self, method: str, url: bytes, client: Client, server: Server, lines: Lines) -> CachedRejection | None:
        """What a request with that head would be refused with, if it would be."""
        if self._before != self._given_back():
            self._kept.clear()
            return None
        key = None if self._is_draining() else key_of(method, url, client, server, lines)
        found = self._kept.get(key) if key else None
        return found if found is not None and time.perf_counter() < found.until else None


def key_of(method: str, url: bytes, client: Client, server: Server, lines: Lines) -> bytes | None:
    """A digest of all of a head that a refusal may depend on; None for a long one. No header has a line's end in it."""
    told = [name + b": " + value for name, value in lines if name not in ASIDE]
    text = b"\r\n".join([f"{method} {client and client[0]} {server}".encode(), url, *told])
    return blake2b(text, digest_size=KEY_BYTES).digest() if len(text) <= MOST_BYTES else None
