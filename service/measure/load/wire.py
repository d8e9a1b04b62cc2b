"""HTTP/1.1 as cheap as a load generator must be: ready-made bytes out, the parser that uvicorn uses for what is in."""

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, cast
from urllib.parse import urlsplit

import httptools

from service.measure.load.corpus import Picture

BOUNDARY = "resnest-bench-e19b46a1"


class ConnectionLostError(ConnectionError):
    """The server closed, or answered no HTTP, before the answer was whole."""


@dataclass(frozen=True)
class Address:
    """Where a server listens."""

    host: str
    port: int
    tls: bool = False

    @classmethod
    def of(cls, url: str) -> Self:
        """The address in `http://host:port/...`, or https. Raises `ValueError` for another scheme or none."""
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"{url} is no http:// or https:// address")
        tls = parts.scheme == "https"
        return cls(parts.hostname, parts.port or (443 if tls else 80), tls)


@dataclass(frozen=True)
class Request:
    """A request as it is sent, and how many pictures are in it."""

    wire: bytes
    pictures: int = 1


@dataclass
class Reply:
    """A response: its header names are in lower case."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


def post(url: str, body: bytes, media_type: str, headers: Mapping[str, str], pictures: int = 1) -> Request:
    """A POST of `body`, on a connection that stays open."""
    parts = urlsplit(url)
    target = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
    host = parts.netloc.rpartition("@")[2]
    lines = {"Host": host, "Content-Type": media_type, "Content-Length": str(len(body)), **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return Request(f"POST {target} HTTP/1.1\r\n{head}\r\n".encode() + body, pictures)


def form(pictures: Sequence[Picture], name: str = "file") -> tuple[bytes, str]:
    """The body of a form whose fields `name` are the pictures, and its media type."""
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="{place}.jpg"\r\n'
        f"Content-Type: {picture.media_type}\r\n\r\n".encode()
        + picture.content
        + b"\r\n"
        for place, picture in enumerate(pictures)
    ]
    return b"".join([*parts, f"--{BOUNDARY}--\r\n".encode()]), f"multipart/form-data; boundary={BOUNDARY}"


class Connection(asyncio.Protocol):
    """One connection, over which one request at a time is sent."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._parser: Any = None
        self._reply = Reply()
        self._chunks: list[bytes] = []
        self._waiting: asyncio.Future[Reply] | None = None

    @classmethod
    async def open(cls, address: Address) -> Self:
        """Connect. Raises `OSError`."""
        tls = ssl.create_default_context() if address.tls else None
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(cls, address.host, address.port, ssl=tls)
        return connection

    @property
    def usable(self) -> bool:
        """Whether another request can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    async def exchange(self, request: bytes) -> Reply:
        """The reply to a request. Raises `ConnectionLostError`; cancelled, it closes."""
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
        """Close; the exchange under way raises `TimeoutError`."""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(TimeoutError())
        self.close()

    def close(self) -> None:
        """Give the connection back."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one without being a subclass

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the request under way."""
        self._transport = None
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(ConnectionLostError(str(exc or "closed")))

    def data_received(self, data: bytes) -> None:
        """Feed the parser, which calls the `on_` methods."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            if self._waiting is not None and not self._waiting.done():
                self._waiting.set_exception(ConnectionLostError(str(error)))
            self.close()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        self._reply.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        """Take some of the body."""
        self._chunks.append(body)

    def on_message_complete(self) -> None:
        """Hand the reply over; a connection that the server is about to close is closed."""
        status = self._parser.get_status_code()
        if status < 200:  # 100 Continue, 103 Early Hints: the answer follows
            return
        self._reply.status, self._reply.body = status, b"".join(self._chunks)
        if not self._parser.should_keep_alive() and self._transport is not None:
            self._transport.close()
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(self._reply)
