"""Uvicorn's HTTP protocol with the one clock that it lacks: a request's headers must arrive in time."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class Protocol(HttpToolsProtocol):
    """Closes a connection that opens, or begins a request, and does not send whole headers in `header_timeout_s`."""

    def __init__(self, *args: Any, header_timeout_s: float, **options: Any) -> None:
        super().__init__(*args, **options)
        self._header_timeout_s = header_timeout_s
        self._header_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Expect the first request."""
        super().connection_made(transport)
        self._expect_headers()

    def on_message_begin(self) -> None:
        """Expect the rest of the headers."""
        super().on_message_begin()
        self._expect_headers()

    def on_headers_complete(self) -> None:
        """Go on without the clock."""
        self._stop()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave no timer behind."""
        self._stop()
        super().connection_lost(exc)

    def _expect_headers(self) -> None:
        self._stop()
        self._header_timer = self.loop.call_later(self._header_timeout_s, self._late)

    def _late(self) -> None:
        """Close, but not under an answer to the request before, which may still be on its way."""
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
        else:
            self._expect_headers()

    def _stop(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None
