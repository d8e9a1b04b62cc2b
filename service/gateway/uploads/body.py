"""Reads the images out of a request's body while it streams in, and rejects a body that exceeds a limit."""

import asyncio
import base64
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from starlette.datastructures import Headers
from starlette.types import Receive

from service.config.settings import Settings
from service.errors import (
    BodyTooLarge,
    EmptyBody,
    InvalidBase64,
    MalformedJson,
    ServiceError,
    TooManyImages,
    UnsupportedMediaType,
    UploadTimeout,
)
from service.gateway.http.media_types import JSON, MULTIPART, OCTETS, accepted
from service.gateway.http.problems import ClientGoneError
from service.gateway.scheduling.admission import Reservation
from service.gateway.uploads.multipart import FIELDS, MultipartForm
from service.gateway.uploads.threads import ThreadPool
from service.tasks.shapes import ImagesBody


@dataclass(frozen=True)
class Upload:
    """One image's bytes, or the error in their place, with the file name and media type that the request declares."""

    content: bytes | ServiceError
    filename: str | None = None
    declared: str | None = None


class BodyParser(Protocol):
    """Takes a body chunk by chunk, and returns its images at the end."""

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes. Raises `ServiceError`."""

    def finish(self) -> list[Upload]:
        """Return the images, possibly after long work. Raises `ServiceError`."""


class RawBody:
    """A body that is one image."""

    def __init__(self, declared: str | None) -> None:
        self._declared = declared
        self._content = bytearray()

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""
        self._content += chunk

    def finish(self) -> list[Upload]:
        """Return the one image."""
        return [upload_of(bytes(self._content), None, self._declared)]


class FormBody:
    """A form with an image in each field named `file` or `image`."""

    def __init__(self, content_type: str, max_images: int) -> None:
        self._form = MultipartForm(content_type, max_images)

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""
        self._form.feed(chunk)

    def finish(self) -> list[Upload]:
        """Return the images of the form. Raises `EmptyBody` if it has none."""
        parts = self._form.finish()
        if not parts:
            raise EmptyBody(f"The form has no field named {' or '.join(FIELDS)}.")
        return [upload_of(bytes(part.content), part.filename, part.declared) for part in parts]


class JsonBody:
    """`{"images": [{"content": "<base64 or data: URI>"}]}`."""

    def __init__(self, max_images: int) -> None:
        self._max_images = max_images
        self._text = bytearray()

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""
        self._text += chunk

    def finish(self) -> list[Upload]:
        """Return the images; one that is not base64 has that error. Raises `ServiceError`, such as `MalformedJson`."""
        text = bytes(self._text)
        if not text:
            raise EmptyBody("The body is empty.")
        self._check_brackets(text)
        try:
            sent = ImagesBody.model_validate_json(text).images
        except ValidationError as error:
            raise malformed_json(error) from None
        if not sent:
            raise EmptyBody("The list of images is empty.")
        return [from_base64(image.content) for image in sent]

    def _check_brackets(self, text: bytes) -> None:
        """Reject JSON that would make millions of objects, before it is parsed.

        The brackets can be counted, because neither base64 nor a data: URI contains any.
        """
        sent = text.count(b"{") - 1
        if sent > self._max_images:
            raise TooManyImages(
                f"The body has more than the allowed {self._max_images} images.",
                limit=self._max_images,
                actual=sent,
            )
        # One comma between images, and one in each data: URI.
        if text.count(b"[") > 1 or text.count(b",") > 2 * self._max_images:
            raise MalformedJson("The body has lists or members that are not documented.")


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
    end: float | None = None,
    body: BodyParser | None = None,
) -> tuple[list[Upload], int]:
    """Return the images of a request, at least one, and the size of its body in bytes.

    The body must arrive within the time in the settings, and by `end` on the loop's clock. `body` parses it; without
    it, the content type selects the parser. Raises `ServiceError` and `ClientGoneError`.
    """
    body = body or parser_of(headers, settings.max_images)
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


def parser_of(headers: Headers, max_images: int) -> BodyParser:
    """Return a parser for the body's content type. Raises `UnsupportedMediaType`."""
    check_encoding(headers)
    content_type = headers.get("content-type", OCTETS)
    declared = content_type.partition(";")[0].strip().lower()
    if declared == MULTIPART:
        return FormBody(content_type, max_images)
    if declared == JSON:
        return JsonBody(max_images)
    if declared == OCTETS or declared.startswith("image/"):
        return RawBody(declared)
    raise UnsupportedMediaType("The request's Content-Type is not accepted.", accepted=accepted())


def check_encoding(headers: Headers) -> None:
    """Raise `UnsupportedMediaType` for a compressed body."""
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType("The body has a Content-Encoding; send it without one.", accepted=accepted())


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
    return BodyTooLarge(f"The body has more than the allowed {limit} bytes.", limit=limit, actual=actual)


def upload_of(content: bytes, filename: str | None = None, declared: str | None = None) -> Upload:
    """Return the upload of an image; without bytes it has `EmptyBody` in place of them."""
    declared = declared.partition(";")[0].strip().lower() if declared else None
    return Upload(content or EmptyBody("The image has no bytes."), filename, declared)


def from_base64(content: str) -> Upload:
    """Return the upload of an image in base64 or a data: URI; it has `InvalidBase64` if the text is neither."""
    declared = None
    if content.startswith("data:"):
        head, comma, content = content.partition(",")
        declared, _, encoding = head.removeprefix("data:").rpartition(";")
        if encoding.lower() != "base64" or not comma:
            return Upload(InvalidBase64("A data: URI needs ;base64 and a comma before its data."))
    try:
        # CPython accepts too much padding, such as AAAA=.
        data = base64.b64decode(content, validate=True) if len(content) % 4 == 0 else None
    except ValueError:  # binascii.Error, or a non-ASCII character
        data = None
    if data is None:
        return Upload(InvalidBase64("The content is not standard base64 with padding."))
    return upload_of(data, None, declared)


def malformed_json(error: ValidationError) -> MalformedJson:
    """Return the problem with the first eight errors, without values and unknown names, which are the caller's data."""
    rows = [{"parameter": ".".join(_documented(each)), "detail": each["msg"]} for each in error.errors()[:8]]
    return MalformedJson("The body is not the documented JSON.", errors=rows)


def _documented(error: ErrorDetails) -> list[str]:
    path = error["loc"][:-1] if error["type"] == "extra_forbidden" else error["loc"]
    return [str(step) for step in path]
