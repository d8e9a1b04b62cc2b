"""An HTTP/1.1 client for the load generator: it sends prepared bytes and parses replies with httptools.

A general-purpose client would take CPU time from the service under test on the same host.
"""

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, cast
from urllib.parse import urlsplit

import httptools

from service.measure.load.corpus import CorpusImage

BOUNDARY = "resnest-bench-e19b46a1"


class ConnectionLostError(ConnectionError):
    """The server closed the connection, or sent invalid HTTP, before the reply was complete."""


@dataclass(frozen=True)
class Address:
    """The host and port where a server listens, and whether it uses TLS."""

    host: str
    port: int
    tls: bool = False

    @classmethod
    def of(cls, url: str) -> Self:
        """Parse `http://host:port/...` or `https://...`. Raises `ValueError` for another scheme, or none."""
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"{url} is not an http:// or https:// URL")
        tls = parts.scheme == "https"
        return cls(parts.hostname, parts.port or (443 if tls else 80), tls)


@dataclass(frozen=True)
class Request:
    """The bytes of a request, and the number of images in it."""

    wire: bytes
    images: int = 1


@dataclass
class Reply:
    """A response. Header names are in lower case."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


def post(url: str, body: bytes, media_type: str, headers: Mapping[str, str], images: int = 1) -> Request:
    """Return a POST request of `body` that keeps the connection open."""
    parts = urlsplit(url)
    target = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
    host = parts.netloc.rpartition("@")[2]
    lines = {"Host": host, "Content-Type": media_type, "Content-Length": str(len(body)), **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return Request(f"POST {target} HTTP/1.1\r\n{head}\r\n".encode() + body, images)


def form(uploads: Sequence[CorpusImage], name: str = "file") -> tuple[bytes, str]:
    """Return the body of a multipart form that has each upload in a field called `name`, and its media type."""
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="{index}.jpg"\r\n'
        f"Content-Type: {upload.media_type}\r\n\r\n".encode()
        + upload.content
        + b"\r\n"
        for index, upload in enumerate(uploads)
    ]
    return b"".join([*parts, f"--{BOUNDARY}--\r\n".encode()]), f"multipart/form-data; boundary={BOUNDARY}"


class Connection(asyncio.Protocol):
    """A connection that carries one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._parser: Any = None
        self._reply = Reply()
        self._chunks: list[bytes] = []
        self._waiting: asyncio.Future[Reply] | None = None

    @classmethod
    async def open(cls, address: Address) -> Self:
        """Connect to the server. Raises `OSError`."""
        tls = ssl.create_default_context() if address.tls else None
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(cls, address.host, address.port, ssl=tls)
        return connection

    @property
    def usable(self) -> bool:
        """Whether the connection can carry another request."""
        return self._transport is not None and not self._transport.is_closing()

    async def exchange(self, request: bytes) -> Reply:
        """Send a request and return its reply. Raises `ConnectionLostError`. Cancelling it closes the connection."""
        if self._transport is None or self._transport.is_closing():
            raise ConnectionLostError
        self._parser = httptools.HttpResponseParser(self)
        self._reply, self._chunks = Reply(), []
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        try:
            return await self._waiting
        except asyncio.CancelledError:
            self.close()
            raise

    def give_up(self) -> None:
        """Close the connection, so that the exchange in progress raises `TimeoutError`."""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(TimeoutError())
        self.close()

    def close(self) -> None:
        """Close the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's has the methods and is no subclass

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the exchange in progress with `ConnectionLostError`."""
        self._transport = None
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(ConnectionLostError(str(exc or "closed")))

    def data_received(self, data: bytes) -> None:
        """Pass the data to the parser, which calls the `on_` methods."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            if self._waiting is not None and not self._waiting.done():
                self._waiting.set_exception(ConnectionLostError(str(error)))
            self.close()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Store a header of the reply."""
        self._reply.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        """Store a part of the reply's body."""
        self._chunks.append(body)

    def on_message_complete(self) -> None:
        """Return the complete reply to `exchange`. Close the connection if the server will not keep it open."""
        status = self._parser.get_status_code()
        if status < 200:  # 100 Continue, 103 Early Hints: the final reply follows
            return
        self._reply.status, self._reply.body = status, b"".join(self._chunks)
        if not self._parser.should_keep_alive() and self._transport is not None:
            self._transport.close()
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(self._reply)
