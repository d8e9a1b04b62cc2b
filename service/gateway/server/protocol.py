"""Uvicorn's HTTP protocol with what it lacks: a clock and a bound for a request's headers, and problems.

Uvicorn's parser also takes a request that offers another protocol (`Upgrade: h2c`, which Java's client sends by
default) for one without a body, and the body that follows for the next request.
"""

import asyncio
import re
import time
from collections.abc import Callable, Iterable
from typing import Any, cast

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.errors import HeadersTooLarge, MalformedRequest, ServiceError, UploadTimeout
from service.gateway.access.rejection_cache import CachedRejection, RejectionCache
from service.gateway.http.cors import STANDING
from service.gateway.http.middleware import LINGER_S, SOON_S, WHOLE, id_of, is_small, new_id
from service.gateway.http.problems import MEDIA_TYPE
from service.gateway.metrics import Metrics
from service.gateway.server.coalesced_writes import CoalescedWriter

# Bytes that are not body: the request line, headers, trailers and what frames chunks. As headers of four letters each,
# 60 MB of them took 1.2 GB, measured.
MAX_FRAMING = 65_536

# Requests sent behind one that is being answered: parsed, each takes some 2.5 kB. Of 30 bytes each, 26 MB of them took
# 2 GB, measured.
MAX_QUEUED = 32
CLOSING = (b"connection", b"close")

UPGRADE = re.compile(rb"\r\nupgrade:[^\r\n]*", re.IGNORECASE)

STATUS_LINES = {
    400: b"HTTP/1.1 400 Bad Request\r\n",
    408: b"HTTP/1.1 408 Request Timeout\r\n",
    431: b"HTTP/1.1 431 Request Header Fields Too Large\r\n",
    503: b"HTTP/1.1 503 Service Unavailable\r\n",
}


class Protocol(HttpToolsProtocol):
    """Closes a connection that opens, or begins a request, and does not send whole headers in `header_timeout_s`.

    What it refuses no application sees, so it counts that itself. What the application refused just now `repeats` find
    by the head of the next that would be refused, and the application is not asked again.
    """

    def __init__(
        self,
        *args: Any,
        header_timeout_s: float,
        metrics: Metrics,
        repeats: Callable[[], RejectionCache],
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        self._metrics = metrics
        self._repeats = repeats
        self._repeated: CachedRejection | None = None
        self._header_timeout_s = header_timeout_s
        self._header_timer: asyncio.TimerHandle | None = None
        self._between = True  # requests: the next byte begins one
        self._in_head = False
        self._framing = 0
        self._head = 0
        self._body = 0
        self._refused = False
        self._left = -1  # of a body that a refusal did not wait for
        self._refusal: ServiceError = MalformedRequest("The request breaks the grammar of HTTP/1.1.")

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Expect the first request."""
        super().connection_made(transport)
        self._together = CoalescedWriter(transport, self.loop)
        self.transport = cast("asyncio.Transport", self._together)  # whatever is written goes in its order
        self._expect_headers()

    def data_received(self, data: bytes) -> None:
        """Read on, and refuse what is mostly framing; after a refusal forget what still comes."""
        if self._refused:
            self._drop(len(data))
            return
        if self._between:
            data = _without_upgrade(data)
        self._framing += len(data)
        super().data_received(data)
        if self._header_timer is None and not self._refused:
            if self._repeated is not None:
                self._header_timer = self.loop.call_later(SOON_S, self._tell_early)
            elif self._in_head or (self._is_idle and self.timeout_keep_alive_task is None):  # line ends alone
                self._expect_headers()
        # A body in chunks of a few bytes each has as much framing as body.
        if self._framing > MAX_FRAMING + self._body and not self._refused:
            self._refuse_framing()
            self.send_400_response("")

    def on_message_begin(self) -> None:
        """Begin a head; its clock starts when what is here of it was read, and seldom has to."""
        super().on_message_begin()
        self._stop()
        self._between, self._in_head, self._head = False, True, 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; trailers, which come behind the body, are dropped and never mixed with the headers."""
        if self._in_head:
            self._head += len(name) + len(value) + 4
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Go on without the clock. An error raised here makes the parser give up, and uvicorn answer 400."""
        self._stop()
        self._in_head = False
        if len(self.pipeline) >= MAX_QUEUED:
            raise self._refusal
        if len(self.url) + self._head > MAX_FRAMING:
            self._refuse_framing()
            raise self._refusal
        if self.parser.should_upgrade() and {b"content-length", b"transfer-encoding"} & {
            name for name, _ in self.headers
        }:
            raise self._refusal
        self._repeated = self._found()
        if self._repeated is None:
            self._unset_keepalive_if_required()  # of a refusal that was told since this was read
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take some of the body."""
        self._framing -= len(body)
        self._body += len(body)
        if self._repeated is None:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Begin to count anew, and let `Linger` know that nothing more of the body will come."""
        if self._repeated is None:
            super().on_message_complete()
            self.scope["state"][WHOLE] = True
        else:
            self._stop()
            self._tell(self._repeated)
            super().on_response_complete()
        self._between, self._framing, self._body = True, 0, 0

    def send_400_response(self, msg: str) -> None:
        """Tell why the request was refused before the application saw it, and close."""
        error, request_id = self._refusal, new_id()
        content = orjson.dumps({**error.problem(), "request_id": request_id})
        self._refused, self._repeated = True, None
        if self._answering():
            if self.cycle.more_body:
                self.transport.close()
            self.cycle.keep_alive = False  # the last whole request's answer, and then no more
            return
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._metrics.refused(error)
        self._write(error.status, content, request_id, [CLOSING])
        self._close_soon()

    def on_response_complete(self) -> None:
        """Send an answer that has no body, too, before anything else is read, and keep no body that nobody read."""
        self._together.flush()
        if not self.pipeline:
            self.cycle.body = bytearray()
        super().on_response_complete()

    def shutdown(self) -> None:
        """Tell a refusal that still waits for the end of its body, too; what was refused closes by itself."""
        if self._repeated is not None:
            self._tell_early()
        elif not (self._refused and self._is_idle):
            super().shutdown()

    def pause_writing(self) -> None:
        """Expect the client to read; the transport says it."""
        super().pause_writing()
        self._together.expect_reading()

    def resume_writing(self) -> None:
        """Expect nothing more; the transport says it."""
        self._together.expect_nothing()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave no timer behind."""
        self._stop()
        self._together.expect_nothing()
        super().connection_lost(exc)
        self._unset_keepalive_if_required()  # which uvicorn leaves after a reset

    @property
    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    @property
    def _length(self) -> bytes:
        """What the head says of its body's length; of chunks it says nothing, and they are never refused again."""
        return next((value for name, value in self.headers if name == b"content-length"), b"0")

    def _found(self) -> CachedRejection | None:
        """What this request is refused with once more; not where another answer is on its way, or its body is long."""
        repeats = self._repeats()
        if not repeats or not self._is_idle:
            return None
        if self.parser.get_http_version() != "1.1" or not self.parser.should_keep_alive():
            return None
        if not is_small(self._length) or self.flow.write_paused or self.transport.is_closing():
            return None
        return repeats.find(self.parser.get_method().decode(), self.url, self.client, self.server, self.headers)

    def _tell(self, repeated: CachedRejection, *more: tuple[bytes, bytes]) -> None:
        begun = time.perf_counter()
        self._repeated = None
        request_id = id_of(self.headers)
        self._write(503, repeated.content(request_id), request_id, [*repeated.headers, *more])
        repeated.count(self._metrics, time.perf_counter() - begun)

    def _tell_early(self) -> None:
        """Refuse before the body's end, as `Linger` does, and close."""
        self._left = int(self._length) - self._body
        if self._repeated is not None:
            self._tell(self._repeated, CLOSING)
        self._close_soon()

    def _drop(self, size: int) -> None:
        """Forget what still comes; with the last of the body the client has read its answer, or will."""
        if self._left > 0:
            self._left -= size
            if self._left <= 0:
                self.transport.close()

    def _close_soon(self) -> None:
        """Closing at once would reset a connection with unread bytes, and the reset can overtake the answer."""
        self._refused = True
        self._stop()
        self._header_timer = self.loop.call_later(LINGER_S, self.transport.close)

    def _write(self, status: int, content: bytes, request_id: str, more: Iterable[tuple[bytes, bytes]]) -> None:
        """Send a problem."""
        headers = [
            *self.server_state.default_headers,
            (b"content-length", str(len(content)).encode()),
            (b"content-type", MEDIA_TYPE.encode()),
            (b"x-request-id", request_id.encode()),
            *STANDING,
            *more,
        ]
        lines = b"".join([name + b": " + value + b"\r\n" for name, value in headers])
        self._together.send(STATUS_LINES[status] + lines + b"\r\n" + content)

    def _answering(self) -> bool:
        """Whether another answer is on its way, which nothing may be mixed with."""
        if self._is_idle:
            return False
        return bool(self.pipeline) or self.cycle.response_started or not self.cycle.more_body

    def _refuse_framing(self) -> None:
        self._refusal = HeadersTooLarge(
            f"The request line and headers, or the framing of chunks, have more than {MAX_FRAMING} bytes.",
            limit=MAX_FRAMING,
        )

    def _expect_headers(self) -> None:
        self._stop()
        self._header_timer = self.loop.call_later(self._header_timeout_s, self._late)

    def _late(self) -> None:
        """Close, but not under an answer to the request before, which may still be on its way.

        Who has begun a request is told; who has sent nothing may be a browser that only keeps a connection ready.
        """
        if not self._is_idle:
            self._expect_headers()
        elif self._between:
            self.transport.close()
        else:
            self._refusal = UploadTimeout(f"The headers did not arrive within {self._header_timeout_s:g} s.")
            self.send_400_response("")

    def _stop(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None


def _without_upgrade(data: bytes) -> bytes:
    """A request's first bytes without the offer of another protocol, which a server may ignore (RFC 9110, 7.8).

    Headers that are not whole yet stay as they are: with a body behind them they are refused.
    """
    end = data.find(b"\r\n\r\n")
    if end < 0 or UPGRADE.search(data, 0, end) is None:
        return data
    return UPGRADE.sub(b"", data[:end]) + data[end:]
