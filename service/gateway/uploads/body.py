"""Reads the images out of a request's body while it streams in, and rejects a body that exceeds a limit."""

import asyncio
from collections.abc import AsyncIterator

from starlette.datastructures import Headers
from starlette.types import Receive

from service.config.settings import MEBIBYTE, Settings
from service.errors import (
    BodyTooLarge,
    UploadTimeout,
)
from service.gateway.http.problems import ClientGoneError
from service.gateway.scheduling.admission import Reservation
from service.gateway.uploads.parsers.image_bodies import BodyParser, FormBody, RawBody, Upload
from service.gateway.uploads.threads import ThreadPool


class TransferRate:
    """The minimum transfer rate of a body. `until` is the time, by the loop's clock, when the upload times out.

    The upload times out at the end of its window, or at the end of the whole time for the body.
    """

    def __init__(self, settings: Settings, end: float | None) -> None:
        self._rate = settings.min_upload_rate
        self._window_s = settings.upload_window_s
        self._whole_s = settings.upload_timeout_s
        self._clock = asyncio.get_running_loop().time
        latest = self._clock() + self._whole_s
        self._latest = latest if end is None else min(latest, end)
        self._arrived = 0
        self.until = min(self._latest, self._clock() + self._window_s)

    def extend(self, size: int) -> bool:
        """Count `size` more bytes, and return whether enough have arrived to start another window."""
        self._arrived += size
        if self._arrived < self._rate * self._window_s:
            return False
        self._arrived = 0
        self.until = min(self._latest, self._clock() + self._window_s)
        return True

    @property
    def timeout_detail(self) -> str:
        """The reason for the timeout."""
        if self.until < self._latest:
            return f"For {self._window_s:g} s the body arrived at less than {self._rate} bytes a second."
        return f"The body did not arrive within {self._whole_s:g} s or within the Request-Timeout."


async def read(
    receive: Receive,
    headers: Headers,
    settings: Settings,
    reservation: Reservation,
    threads: ThreadPool,
    body: BodyParser,
    end: float | None = None,
) -> tuple[list[Upload], int]:
    """Return the images of a request, at least one, and the size of its body in bytes.

    `body` parses it. It must arrive within the time in the settings, and by `end` on the loop's clock. Raises
    `ServiceError` and `ClientGoneError`.
    """
    check_length(headers, settings.max_upload_bytes)
    size = 0
    rate = TransferRate(settings, end)
    try:
        async with asyncio.timeout_at(rate.until) as timeout:
            async for chunk in _chunks(receive):
                size += len(chunk)
                if size > settings.max_upload_bytes:
                    raise _too_large(settings.max_upload_bytes, size)
                reservation.grow(len(chunk))
                body.feed(chunk)
                if rate.extend(len(chunk)):
                    timeout.reschedule(rate.until)
    except TimeoutError:
        raise UploadTimeout(rate.timeout_detail) from None
    # To decode base64 of a whole body takes tens of milliseconds. The other bodies need no such work.
    uploads = body.finish() if isinstance(body, RawBody | FormBody) else await threads.run(body.finish)
    return uploads, size


def check_length(headers: Headers, limit: int) -> None:
    """Raise `BodyTooLarge` if the Content-Length exceeds the limit, before any of the body is read."""
    declared = headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise _too_large(limit, int(declared))


async def _chunks(receive: Receive) -> AsyncIterator[bytes]:
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        more = message.get("more_body", False)
        if chunk := message.get("body", b""):
            yield chunk


def _too_large(limit: int, actual: int) -> BodyTooLarge:
    in_mib = f" ({limit / MEBIBYTE:.4g} MiB)" if limit >= MEBIBYTE else ""
    return BodyTooLarge(f"The body has more than the allowed {limit} bytes{in_mib}.", limit=limit, actual=actual)
