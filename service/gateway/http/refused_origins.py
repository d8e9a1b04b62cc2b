"""Tells the operator which web pages were refused. A browser tells only its user, and only in its console."""

import logging
import re
from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

log = logging.getLogger(__name__)

MAX_TOLD: Final = 8  # different origins, each once for a process
ORIGIN: Final = re.compile(r"https?://[A-Za-z0-9.:\[\]-]{1,255}")
FILE: Final = "null"  # the origin of a page that was opened as a file
SAME: Final = {b"same-origin", b"none"}  # of Sec-Fetch-Site


class RefusedOriginMiddleware:
    """Logs each origin whose pages may not read the responses. It changes no response."""

    def __init__(self, app: ASGIApp, allowed: Collection[str]) -> None:
        self.app = app
        self._allowed = frozenset(allowed)
        self._told: set[str] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http":
            for name, value in scope["headers"]:
                if name == b"origin":
                    self._tell(value.decode("latin-1"), dict(scope["headers"]))
                    break
        await self.app(scope, receive, send)

    def _tell(self, origin: str, headers: dict[bytes, bytes]) -> None:
        if origin in self._allowed or origin in self._told or len(self._told) >= MAX_TOLD or _is_own(origin, headers):
            return
        if origin == FILE:
            self._told.add(origin)
            log.warning("a page that was opened as a file asked, and its browser hides the answer: serve it over HTTP")
        elif ORIGIN.fullmatch(origin):
            self._told.add(origin)
            log.warning(
                "a page of %s asked, and its browser hides the answer. To allow it: RESNEST_CORS_ORIGINS=%s",
                origin,
                ",".join([*sorted(self._allowed), origin]),
            )


def _is_own(origin: str, headers: dict[bytes, bytes]) -> bool:
    """Return whether the page is one of this service, also behind a proxy that changes the Host."""
    if headers.get(b"sec-fetch-site") in SAME:
        return True
    hosts = (headers.get(name, b"").decode("latin-1").lower() for name in (b"host", b"x-forwarded-host"))
    return urlsplit(origin).netloc.lower() in hosts if ORIGIN.fullmatch(origin) else False
