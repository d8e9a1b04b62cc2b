"""Call the ASGI app of this process as an HTTP client would, without a connection."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message

from service.gateway.http.middleware import BODY_COMPLETE

Address = tuple[str, int]
HeaderLine = tuple[bytes, bytes]


@dataclass(frozen=True)
class HttpRequest:
    """A request: its path without a query, its header lines in lower case, its body, and both ends' addresses."""

    method: str
    path: str
    headers: Sequence[HeaderLine]
    body: bytes
    client: Address
    server: Address


@dataclass(frozen=True)
class HttpResponse:
    """A whole response."""

    status: int
    headers: Headers
    body: bytes


async def call(app: ASGIApp, request: HttpRequest) -> HttpResponse:
    """Return the app's response. A cancelled call ends the request as a closed connection does."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "2",
        "method": request.method,
        "scheme": "http",
        "path": request.path,
        "raw_path": request.path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [*request.headers, (b"content-length", str(len(request.body)).encode())],
        "client": request.client,
        "server": request.server,
        "state": {BODY_COMPLETE: True},
    }
    is_sent = False
    status, lines, parts = 0, list[HeaderLine](), list[bytes]()

    async def receive() -> Message:
        nonlocal is_sent
        if is_sent:
            await asyncio.Event().wait()  # a caller that goes away cancels the whole call
        is_sent = True
        return {"type": "http.request", "body": request.body, "more_body": False}

    async def send(message: Message) -> None:
        nonlocal status, lines
        if message["type"] == "http.response.start":
            status, lines = message["status"], list(message["headers"])
        elif message["type"] == "http.response.body":
            parts.append(message.get("body", b""))

    await app(scope, receive, send)
    return HttpResponse(status, Headers(raw=lines), b"".join(parts))
