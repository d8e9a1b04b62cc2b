"""Extend uvicorn's HTTP protocol: a timeout and a size limit for headers, problem documents, cached rejections.

Uvicorn's parser also misreads a request that offers another protocol: it takes the request for one without a body, and
the body for the next request. Java's client sends such an offer (`Upgrade: h2c`) by default.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any, cast

import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from service.errors import HeadersTooLarge, MalformedRequest, ServiceError, UploadTimeout
from service.gateway.access.rejection_cache import CachedRejection, RejectionCache
from service.gateway.http.access_log import AccessLog
from service.gateway.http.cors import DEFAULT_HEADERS
from service.gateway.http.middleware import BODY_COMPLETE, BODY_WAIT_S, LINGER_S, id_of, is_small, new_id
from service.gateway.http.problems import DISCONNECTED, MEDIA_TYPE, ON_DISCONNECT
from service.gateway.metrics import Metrics
from service.gateway.server.coalesced_writes import CoalescedWriter
from service.gateway.server.half_close import HalfClose
from service.gateway.server.request_head import fault_of, without_upgrade

# Bytes that are not body: the request line, headers, trailers and chunk framing. Measured: 60 MB of headers of four
# letters each took 1.2 GB.
MAX_FRAMING = 65_536

# Pipelined requests behind the one in progress; parsed, each takes about 2.5 kB. Measured: 26 MB of requests of 30 B
# each took 2 GB.
MAX_QUEUED = 32
CLOSING = (b"connection", b"close")


class Protocol(HttpToolsProtocol):
    """An HTTP connection that must send complete headers within `header_timeout_s` of opening or of a request's start.

    It counts the requests that it rejects, since the application never sees them. A request that the application has
    just rejected for overload is answered from the cache `rejections`, without calling the application.
    """

    def __init__(
        self,
        *args: Any,
        header_timeout_s: float,
        metrics: Metrics,
        rejections: Callable[[], RejectionCache],
        access_log: AccessLog,
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        self._metrics = metrics
        self._rejections, self._access_log = rejections, access_log
        self._cached_rejection: CachedRejection | None = None
        self._header_timeout_s = header_timeout_s
        self._header_timer: asyncio.TimerHandle | None = None
        self._between_requests = True  # the next byte begins a request
        self._in_head = False
        self._framing = 0
        self._head = 0
        self._body = 0
        self._rejected = False
        self._unread_body = -1  # bytes still to come of a body that an early rejection did not wait for
        self._error: ServiceError = MalformedRequest("The request is not valid HTTP/1.1.")

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timeout of the first request."""
        super().connection_made(transport)
        self._writer = CoalescedWriter(transport, self.loop)
        self.transport = cast("asyncio.Transport", self._writer)  # so that all writes keep their order
        self._half_close = HalfClose(self.loop, self._writer.send, self._awaits_response)
        self._start_header_timer()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Return whether to answer a client that sends no more: it has sent whole requests, and waits for responses."""
        if self._is_idle or not self._between_requests or self._rejected or self.scope.get("http_version") == "1.0":
            return False
        (self.pipeline[0][0] if self.pipeline else self.cycle).keep_alive = False
        self._half_close.begin()
        return True

    def data_received(self, data: bytes) -> None:
        """Parse data, and reject a request that is mostly framing; after a rejection, discard data."""
        if self._rejected:
            self._discard(len(data))
            return
        if self._between_requests:
            data = without_upgrade(data)
        self._framing += len(data)
        super().data_received(data)
        if self._header_timer is None and not self._rejected:
            if self._cached_rejection is not None:
                self._header_timer = self.loop.call_later(BODY_WAIT_S, self._reject_early)
            elif self._in_head or (self._is_idle and self.timeout_keep_alive_task is None):  # only line ends came
                self._start_header_timer()
        # A body in chunks of a few bytes each may have as much framing as body.
        if self._framing > MAX_FRAMING + self._body and not self._rejected:
            self._set_framing_error()
            self.send_400_response("")

    def on_message_begin(self) -> None:
        """Begin a head. Its timer starts in `data_received`, and only if the head is not complete by then."""
        super().on_message_begin()
        self._stop_timer()
        self._between_requests, self._in_head, self._head = False, True, 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add a header. Trailers, which follow the body, are discarded and never mixed with the headers."""
        if self._in_head:
            self._head += len(name) + len(value) + 4
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Check the head. An error raised here stops the parser, and uvicorn calls `send_400_response`."""
        self._stop_timer()
        self._in_head = False
        if len(self.pipeline) >= MAX_QUEUED:
            raise self._error
        if len(self.url) + self._head > MAX_FRAMING:
            self._set_framing_error()
            raise self._error
        if fault := fault_of(self.parser, self.headers):
            self._error = fault
            raise fault
        self._cached_rejection = self._find_rejection()
        if self._cached_rejection is None:
            self._unset_keepalive_if_required()  # uvicorn set it again after a rejection
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Add a part of the body."""
        self._framing -= len(body)
        self._body += len(body)
        if self._cached_rejection is None:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Reset the counters, and tell `LingerMiddleware` that the body is complete."""
        if self._cached_rejection is None:
            super().on_message_complete()
            self.scope["state"][BODY_COMPLETE] = True
        else:
            self._stop_timer()
            self._send_rejection(self._cached_rejection)
            super().on_response_complete()
        self._between_requests, self._framing, self._body = True, 0, 0

    def send_400_response(self, msg: str) -> None:
        """Send the problem of a request that never reached the application, and close."""
        error, request_id = self._error, new_id()
        content = orjson.dumps({**error.problem(), "request_id": request_id})
        self._rejected, self._cached_rejection = True, None
        if self._is_responding():
            if self.cycle.more_body:
                self.transport.close()
            self.cycle.keep_alive = False  # close after the response to the last complete request
            return
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._metrics.count_rejected(error)
        self._access_log.record_early("unparsed", "other", error.status, error.code(), request_id)
        self._write(error.status, content, request_id, [CLOSING])
        self._close_soon()

    def on_response_complete(self) -> None:
        """Send the response, also one without a body, before reading on, and drop a request body that was not read."""
        self._writer.flush()
        if not self.pipeline:
            self.cycle.body = bytearray()
        super().on_response_complete()

    def shutdown(self) -> None:
        """Send a pending cached rejection at once; a rejected connection closes by itself."""
        if self._cached_rejection is not None:
            self._reject_early()
        elif not (self._rejected and self._is_idle):
            super().shutdown()

    def pause_writing(self) -> None:
        """Start the read timer; the transport calls this when its buffer is full."""
        super().pause_writing()
        self._writer.start_read_timer()

    def resume_writing(self) -> None:
        """Stop the read timer; the transport calls this when its buffer has drained."""
        self._writer.stop_read_timer()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all timers, and report the disconnection to the application."""
        self._stop_timer()
        self._half_close.end()
        self._writer.stop_read_timer()
        super().connection_lost(exc)
        if not self._is_idle:
            state = self.cycle.scope["state"]
            state[DISCONNECTED] = True
            if leave := state.get(ON_DISCONNECT):
                leave()
        self._unset_keepalive_if_required()  # uvicorn leaves this timer after a reset

    @property
    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _awaits_response(self) -> bool:
        return not (self._is_idle or self.cycle.response_started or self.transport.is_closing())

    @property
    def _length(self) -> bytes:
        """The `Content-Length`, 0 without one; a chunked request is never answered from the cache."""
        return next((value for name, value in self.headers if name == b"content-length"), b"0")

    def _find_rejection(self) -> CachedRejection | None:
        """Return the cached rejection for this request; None if a response is in progress or the body is large."""
        rejections = self._rejections()
        if not rejections or not self._is_idle:
            return None
        if self.parser.get_http_version() != "1.1" or not self.parser.should_keep_alive():
            return None
        if not is_small(self._length) or self.flow.write_paused or self.transport.is_closing():
            return None
        return rejections.find(self.parser.get_method().decode(), self.url, self.client, self.server, self.headers)

    def _send_rejection(self, rejection: CachedRejection, *more: tuple[bytes, bytes]) -> None:
        started = time.perf_counter()
        self._cached_rejection = None
        request_id = id_of(self.headers)
        self._write(503, rejection.content(request_id), request_id, [*rejection.headers, *more])
        rejection.count(self._metrics, self._access_log, request_id, time.perf_counter() - started)

    def _reject_early(self) -> None:
        """Send the rejection before the end of the body, as `LingerMiddleware` does, and close."""
        self._unread_body = int(self._length) - self._body
        if self._cached_rejection is not None:
            self._send_rejection(self._cached_rejection, CLOSING)
        self._close_soon()

    def _discard(self, size: int) -> None:
        """Discard data; close after the last byte of the body, since the client then reads its response."""
        if self._unread_body > 0:
            self._unread_body -= size
            if self._unread_body <= 0:
                self.transport.close()

    def _close_soon(self) -> None:
        """Send no more, and close later: a reset because of unread bytes can overtake the response (RFC 9112, 9.6)."""
        self._rejected = True
        self._stop_timer()
        self._header_timer = self.loop.call_later(LINGER_S, self.transport.close)
        self._writer.write_eof()

    def _write(self, status: int, content: bytes, request_id: str, more: Iterable[tuple[bytes, bytes]]) -> None:
        """Send a problem document."""
        headers = [
            *self.server_state.default_headers,
            (b"content-length", str(len(content)).encode()),
            (b"content-type", MEDIA_TYPE.encode()),
            (b"x-request-id", request_id.encode()),
            *DEFAULT_HEADERS,
            *more,
        ]
        lines = b"".join([name + b": " + value + b"\r\n" for name, value in headers])
        self._writer.send(STATUS_LINE[status] + lines + b"\r\n" + content)

    def _is_responding(self) -> bool:
        """Return whether another response is in progress, which nothing may be mixed with."""
        if self._is_idle:
            return False
        return bool(self.pipeline) or self.cycle.response_started or not self.cycle.more_body

    def _set_framing_error(self) -> None:
        detail = f"The request line and headers, or the framing of chunks, have more than {MAX_FRAMING} bytes."
        self._error = HeadersTooLarge(detail, limit=MAX_FRAMING)

    def _start_header_timer(self) -> None:
        self._stop_timer()
        self._header_timer = self.loop.call_later(self._header_timeout_s, self._on_header_timeout)

    def _on_header_timeout(self) -> None:
        """Close the connection, unless the previous response is still in progress.

        A client that has begun a request gets 408. One that has sent nothing gets no response: it may be a browser that
        keeps a spare connection.
        """
        if not self._is_idle:
            self._start_header_timer()
        elif self._between_requests:
            self.transport.close()
        else:
            self._error = UploadTimeout(f"The headers did not arrive within {self._header_timeout_s:g} s.")
            self.send_400_response("")

    def _stop_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None
