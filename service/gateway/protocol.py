"""Uvicorn's HTTP protocol with what it lacks: a clock and a bound for a request's headers, and problems.

Uvicorn's parser also takes a request that offers another protocol (`Upgrade: h2c`, which Java's client sends by
default) for one without a body, and the body that follows for the next request.
"""

import asyncio
import re
from collections.abc import Callable
from typing import Any, cast

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.errors import HeadersTooLarge, MalformedRequest, ServiceError, UploadTimeout
from service.gateway.browsers import STANDING
from service.gateway.middleware import WHOLE, new_id
from service.gateway.together import Together

# Bytes that are not body: the request line, headers, trailers and what frames chunks. As headers of four letters each,
# 60 MB of them took 1.2 GB, measured.
MAX_FRAMING = 65_536

LINGER_S = 1.0

UPGRADE = re.compile(rb"\r\nupgrade:[^\r\n]*", re.IGNORECASE)

STATUS_LINES = {
    400: b"HTTP/1.1 400 Bad Request\r\n",
    408: b"HTTP/1.1 408 Request Timeout\r\n",
    431: b"HTTP/1.1 431 Request Header Fields Too Large\r\n",
}


class Protocol(HttpToolsProtocol):
    """Closes a connection that opens, or begins a request, and does not send whole headers in `header_timeout_s`.

    What it refuses no application sees, so `count` hears of each problem that it tells.
    """

    def __init__(
        self, *args: Any, header_timeout_s: float, count: Callable[[ServiceError], object], **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self._count = count
        self._header_timeout_s = header_timeout_s
        self._header_timer: asyncio.TimerHandle | None = None
        self._between = True  # requests: the next byte begins one
        self._framing = 0
        self._head = 0
        self._body = 0
        self._refused = False
        self._refusal: ServiceError = MalformedRequest("The request breaks the grammar of HTTP/1.1.")

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Expect the first request."""
        super().connection_made(transport)
        self._together = Together(transport, self.loop)
        self.transport = cast("asyncio.Transport", self._together)  # whatever is written goes in its order
        self._expect_headers()

    def data_received(self, data: bytes) -> None:
        """Read on, and refuse what is mostly framing; after a refusal forget what still comes."""
        if self._refused:
            return
        if self._between:
            data = _without_upgrade(data)
        self._framing += len(data)
        super().data_received(data)
        # A body in chunks of a few bytes each has as much framing as body.
        if self._framing > MAX_FRAMING + self._body and not self._refused:
            self._refuse_framing()
            self.send_400_response("")

    def on_message_begin(self) -> None:
        """Expect the rest of the headers."""
        super().on_message_begin()
        self._between, self._head = False, 0
        self._expect_headers()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; trailers, which come behind the body, are dropped and never mixed with the headers."""
        if self._header_timer is not None:
            self._head += len(name) + len(value) + 4
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Go on without the clock. An error raised here makes the parser give up, and uvicorn answer 400."""
        self._stop()
        if len(self.url) + self._head > MAX_FRAMING:
            self._refuse_framing()
            raise self._refusal
        if self.parser.should_upgrade() and {b"content-length", b"transfer-encoding"} & {
            name for name, _ in self.headers
        }:
            raise self._refusal
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take some of the body."""
        self._framing -= len(body)
        self._body += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Begin to count anew, and let `Linger` know that nothing more of the body will come."""
        super().on_message_complete()
        self.scope["state"][WHOLE] = True
        self._between, self._framing, self._body = True, 0, 0

    def send_400_response(self, msg: str) -> None:
        """Tell why the request was refused before the application saw it, and close."""
        error, request_id = self._refusal, new_id()
        content = orjson.dumps({**error.problem(), "request_id": request_id})
        headers = [
            *self.server_state.default_headers,
            (b"content-length", str(len(content)).encode()),
            (b"content-type", b"application/problem+json"),
            (b"x-request-id", request_id.encode()),
            *STANDING,
            (b"connection", b"close"),
        ]
        lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
        self._refused = True
        if self._answering():
            self.transport.close()
            return
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._count(error)
        self.transport.write(STATUS_LINES[error.status] + lines + b"\r\n" + content)
        self._together.flush()
        # Closing at once would reset a connection with unread bytes, and the reset can overtake the answer.
        self._stop()
        self._header_timer = self.loop.call_later(LINGER_S, self.transport.close)

    def on_response_complete(self) -> None:
        """Send an answer that has no body, too, before anything else is read, and keep no body that nobody read."""
        self._together.flush()
        if not self.pipeline:
            self.cycle.body = bytearray()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave no timer behind."""
        self._stop()
        super().connection_lost(exc)

    def _answering(self) -> bool:
        """Whether another answer is on its way, which nothing may be mixed with."""
        if self.cycle is None or self.cycle.response_complete:
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
        if self.cycle is not None and not self.cycle.response_complete:
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
