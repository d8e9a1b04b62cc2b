"""Repeat an overload rejection to an identical request, in the protocol layer, while no slot was released.

When a few callers flood the gateway, most requests repeat a rejected one. Rejecting one in the application takes
several times as much CPU time (decision 0046).
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

import orjson
from starlette.types import Scope

from service.errors import Overloaded
from service.gateway.access.authorization import ADMITTED
from service.gateway.access.rate_limit import Permit
from service.gateway.http.access_log import AccessLog
from service.gateway.http.problems import document, headers_of
from service.gateway.metrics import Metrics

TTL_S = 0.05  # short, because keys may be withdrawn and workers may start
MAX_ENTRIES = 256
MAX_HEAD_BYTES = 4096  # of a request that is cached
KEY_BYTES = 32
# Headers that may differ between requests and that no overload rejection depends on.
IGNORED_HEADERS: Final = frozenset((b"content-length", b"content-type", b"traceparent", b"tracestate", b"x-request-id"))
# Headers that change the response itself, or how it is sent.
UNCACHEABLE_HEADERS: Final = frozenset((b"expect", b"origin", b"transfer-encoding", b"upgrade"))

Lines = Iterable[tuple[bytes, bytes]]
Client = tuple[str, int] | None
Server = tuple[str, int | None] | None


@dataclass(frozen=True)
class CachedRejection:
    """A rejection to repeat: its problem and headers, and the labels with which it is counted."""

    until: float  # on the clock of `time.perf_counter`
    caller: str
    route: str
    method: str
    models: Sequence[str]
    is_background: bool
    problem: Mapping[str, object]
    headers: Lines

    def content(self, request_id: str) -> bytes:
        """Return the problem document as JSON."""
        return orjson.dumps({**self.problem, "request_id": request_id})

    def count(self, metrics: Metrics, access_log: AccessLog, request_id: str, took_s: float) -> None:
        """Count and log the repeated rejection as the application would have."""
        metrics.callers.labels(self.caller, ADMITTED).inc()
        metrics.problems.labels(self.problem["code"]).inc()
        metrics.count_request(self.route, self.method, Overloaded.status, took_s, took_s)
        metrics.count_excused(self.route, Overloaded.code(), ends_early=False, is_background=self.is_background)
        metrics.count_offered(self.models)
        access_log.record_early(self.route, self.method, Overloaded.status, Overloaded.code(), request_id)


class RejectionCache:
    """The latest overload rejections, by a digest of the request's head."""

    def __init__(self, released: Callable[[], int], is_draining: Callable[[], bool]) -> None:
        """Cache until `released`, which counts released slots, returns another number."""
        self._released = released
        self._is_draining = is_draining
        self._entries: dict[bytes, CachedRejection] = {}
        self._released_before = 0

    def add(self, scope: Scope, error: Overloaded, models: Sequence[str]) -> None:
        """Cache the rejection of a request to these models of which only the head was read.

        Do nothing for callers with limits, which also count rejected requests, or if the model was chosen at random.
        """
        state, lines = scope["state"], scope["headers"]
        permit: Permit = state["permit"]
        if (
            permit.is_limited
            or state.get("has_random_version")
            or any(name in UNCACHEABLE_HEADERS for name, _ in lines)
        ):
            return
        query, path = scope["query_string"], scope["raw_path"]
        url = path + b"?" + query if query else path
        key = key_of(scope["method"], url, scope["client"], scope["server"], lines)
        if key is None:
            return
        released = self._released()
        if self._released_before != released or (len(self._entries) >= MAX_ENTRIES and key not in self._entries):
            self._entries.clear()
            self._released_before = released
        self._entries[key] = CachedRejection(
            time.perf_counter() + TTL_S,
            permit.caller.label,
            state["route"],
            scope["method"],
            models,
            state["is_background"],
            document(scope["path"], error, ""),
            [(name.lower().encode(), value.encode()) for name, value in headers_of(error).items()],
        )

    def __bool__(self) -> bool:
        """Return whether anything is cached."""
        return bool(self._entries)

    def find(self, method: str, url: bytes, client: Client, server: Server, lines: Lines) -> CachedRejection | None:
        """Return the cached rejection for a request with this head, or None."""
        if self._released_before != self._released():
            self._entries.clear()
            return None
        key = None if self._is_draining() else key_of(method, url, client, server, lines)
        found = self._entries.get(key) if key else None
        return found if found is not None and time.perf_counter() < found.until else None


def key_of(method: str, url: bytes, client: Client, server: Server, lines: Lines) -> bytes | None:
    """Return a digest of all of a head that a rejection may depend on, or None for a long head.

    The parts are joined by line ends, which no header contains.
    """
    headers = [name + b": " + value for name, value in lines if name not in IGNORED_HEADERS]
    text = b"\r\n".join([f"{method} {client and client[0]} {server}".encode(), url, *headers])
    return blake2b(text, digest_size=KEY_BYTES).digest() if len(text) <= MAX_HEAD_BYTES else None
