"""A local file server whose paths reproduce faults observed on real servers of weights."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

PAGE = b"<!doctype html><title>Please sign in</title>"


class Server(ThreadingHTTPServer):
    """Serves `files` as `/<behaviour>/<name>`; `requests` lists the path and the Range of every request, in order.

    `tokens` lists what each request has as `Authorization`. `elsewhere` is the URL to which `elsewhere` redirects.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.requests: list[tuple[str, str | None]] = []
        self.tokens: list[str | None] = []
        self.elsewhere = ""
        self.closing = threading.Event()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that disconnect: the tests do that on purpose."""

    def url(self, behaviour: str, name: str = "file") -> str:
        """Return the URL that serves the file `name` with this behaviour."""
        return f"http://127.0.0.1:{self.server_port}/{behaviour}/{name}"


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Server

    def do_GET(self) -> None:
        """Answer with the behaviour that the first part of the path names."""
        path = PurePosixPath(urlsplit(self.path).path)  # a request to a proxy has the full URL
        self.server.requests.append((str(path), self.headers["Range"]))
        self.server.tokens.append(self.headers["Authorization"])
        self.close_connection = True
        BEHAVIOURS[path.parts[1]](self, self.server.files.get(path.name, b""))

    def log_message(self, *_: Any) -> None:
        """Keep the output of the tests clean."""

    def begun(self) -> int:
        """Return the offset of the first requested byte."""
        found = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
        return int(found[1]) if found else 0

    def head(self, status: int, **headers: Any) -> None:
        """Send the status line and these headers, for example `Content_Length=5`."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def part(self, data: bytes, begun: int) -> None:
        """Send the head of a response with all bytes from `begun` on."""
        if begun:
            span = f"bytes {begun}-{len(data) - 1}/{len(data)}"
            self.head(206, Content_Length=len(data) - begun, Content_Range=span)
        else:
            self.head(200, Content_Length=len(data))


def _whole(handler: Handler, data: bytes) -> None:
    begun = handler.begun()
    if begun >= len(data):
        handler.head(416, Content_Length=0, Content_Range=f"bytes */{len(data)}")
        return
    handler.part(data, begun)
    handler.wfile.write(data[begun:])


def _without_ranges(handler: Handler, data: bytes) -> None:
    handler.head(200, Content_Length=len(data))
    handler.wfile.write(data)


def _cut(handler: Handler, data: bytes) -> None:
    """Send half of the requested bytes, then close. A request for at most 1000 bytes is answered completely."""
    begun = handler.begun()
    handler.part(data, begun)
    rest = data[begun:]
    handler.wfile.write(rest[: len(rest) // 2] if len(rest) > 1000 else rest)


def _cut_without_ranges(handler: Handler, data: bytes) -> None:
    handler.head(200, Content_Length=len(data))
    handler.wfile.write(data[: len(data) // 2])


def _without_length(handler: Handler, data: bytes) -> None:
    handler.head(200)
    handler.wfile.write(data)


def _short_length(handler: Handler, data: bytes) -> None:
    handler.head(200, Content_Length=len(data) // 2)
    handler.wfile.write(data)


def _silent(handler: Handler, _: bytes) -> None:
    handler.server.closing.wait(10)


def _stalled(handler: Handler, data: bytes) -> None:
    handler.head(200, Content_Length=len(data))
    handler.wfile.write(data[:100])
    handler.server.closing.wait(10)


def _slow(handler: Handler, data: bytes) -> None:
    handler.head(200, Content_Length=len(data))
    for byte in data:
        handler.wfile.write(bytes([byte]))
        if handler.server.closing.wait(0.02):
            return


def _endless(handler: Handler, _: bytes) -> None:
    handler.head(200)
    while not handler.server.closing.is_set():
        handler.wfile.write(bytes(1 << 16))


def _huge(handler: Handler, _: bytes) -> None:
    handler.head(200, Content_Length=10**15)


def _other_part(handler: Handler, data: bytes) -> None:
    begun = handler.begun()
    handler.head(206, Content_Length=len(data) - begun, Content_Range=f"bytes 1-{len(data) - 1}/{len(data)}")
    handler.wfile.write(data[begun:])


def _page(handler: Handler, _: bytes) -> None:
    _without_ranges(handler, PAGE)


def _other_bytes(handler: Handler, data: bytes) -> None:
    _without_ranges(handler, bytes(byte ^ 1 for byte in data))


def _nonsense(handler: Handler, _: bytes) -> None:
    handler.wfile.write(b"220 smtp.example.org ESMTP\r\n")


def _redirect(to: str) -> Callable[[Handler, bytes], None]:
    def answer(handler: Handler, _: bytes) -> None:
        handler.head(302, Location=to, Content_Length=0)

    return answer


def _elsewhere(handler: Handler, _: bytes) -> None:
    handler.head(302, Location=handler.server.elsewhere, Content_Length=0)


def _private(handler: Handler, data: bytes) -> None:
    """Send the file to a request with any token."""
    if handler.headers["Authorization"] is None:
        handler.head(401, Content_Length=0, WWW_Authenticate="Bearer")
    else:
        _whole(handler, data)


def _status(status: int) -> Callable[[Handler, bytes], None]:
    def answer(handler: Handler, _: bytes) -> None:
        handler.head(status, Content_Length=0)

    return answer


BEHAVIOURS: dict[str, Callable[[Handler, bytes], None]] = {
    "whole": _whole,
    "without-ranges": _without_ranges,
    "cut": _cut,
    "cut-without-ranges": _cut_without_ranges,
    "without-length": _without_length,
    "short-length": _short_length,
    "silent": _silent,
    "stalled": _stalled,
    "slow": _slow,
    "endless": _endless,
    "huge": _huge,
    "other-part": _other_part,
    "page": _page,
    "other-bytes": _other_bytes,
    "nonsense": _nonsense,
    "redirect": _redirect("/whole/file"),
    "loop": _redirect("/loop/file"),
    "to-no-port": _redirect("http://127.0.0.1:x/file"),
    "elsewhere": _elsewhere,
    "private": _private,
    "to-a-file": _redirect("file:///etc/hostname"),
    "403": _status(403),
    "404": _status(404),
    "500": _status(500),
}


@contextmanager
def serving() -> Iterator[Server]:
    """Run the server until this exits."""
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            server.shutdown()
            thread.join()
