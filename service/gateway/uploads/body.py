"""A request's body to pictures' bytes: counted while it streams, refused at the limit, whatever its shape."""

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
from service.tasks.schemas import ImagesBody


@dataclass(frozen=True)
class Upload:
    """One picture's bytes, or why there are none; with the name and media type that the request gave it."""

    content: bytes | ServiceError
    filename: str | None = None
    declared: str | None = None


class Body(Protocol):
    """Takes a body chunk by chunk, and gives its pictures at the end."""

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes. Raises `ServiceError`."""

    def finish(self) -> list[Upload]:
        """The pictures; it may take long. Raises `ServiceError`."""


class RawBody:
    """A body that is one picture."""

    def __init__(self, declared: str | None) -> None:
        self._declared = declared
        self._content = bytearray()

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""
        self._content += chunk

    def finish(self) -> list[Upload]:
        """The one picture."""
        return [upload_of(bytes(self._content), None, self._declared)]


class FormBody:
    """A form with a picture in each field named `file` or `image`."""

    def __init__(self, content_type: str, max_images: int) -> None:
        self._form = MultipartForm(content_type, max_images)

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""
        self._form.feed(chunk)

    def finish(self) -> list[Upload]:
        """The pictures of the form. Raises `EmptyBody` where it has none."""
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
        """The pictures; one that is not base64 carries that error. Raises `MalformedJson` and the like."""
        text = bytes(self._text)
        if not text:
            raise EmptyBody("The body is empty.")
        self._check_brackets(text)
        try:
            sent = ImagesBody.model_validate_json(text).images
        except ValidationError as error:
            raise malformed(error) from None
        if not sent:
            raise EmptyBody("The list of images is empty.")
        return [in_base64(image.content) for image in sent]

    def _check_brackets(self, text: bytes) -> None:
        """Refuse before parsing what would make millions of objects: neither base64 nor a data: URI has brackets."""
        sent = text.count(b"{") - 1
        if sent > self._max_images:
            raise TooManyImages(
                f"The body holds more than {self._max_images} pictures.", limit=self._max_images, actual=sent
            )
        # One between images, and one in each data: URI.
        if text.count(b"[") > 1 or text.count(b",") > 2 * self._max_images:
            raise MalformedJson("The body holds lists or members that are not documented.")


class TransferRate:
    """Until when a body may go on arriving, in the loop's time: the next bytes that are due, or the end of its time."""

    def __init__(self, settings: Settings, end: float | None) -> None:
        self._rate = settings.min_upload_rate
        self._window_s = settings.upload_window_s
        self._whole_s = settings.upload_timeout_s
        self._clock = asyncio.get_running_loop().time
        latest = self._clock() + self._whole_s
        self._latest = latest if end is None else min(latest, end)
        self._arrived = 0
        self.until = min(self._latest, self._clock() + self._window_s)

    def goes_on(self, size: int) -> bool:
        """Whether, with so many bytes more, the body has earned itself another window."""
        self._arrived += size
        if self._arrived < self._rate * self._window_s:
            return False
        self._arrived = 0
        self.until = min(self._latest, self._clock() + self._window_s)
        return True

    @property
    def complaint(self) -> str:
        """Why its time is over."""
        if self.until < self._latest:
            return f"Less than {self._rate} bytes a second arrived, over {self._window_s:g} s."
        return f"The body did not arrive within {self._whole_s:g} s, or the request's own time."


async def read(
    receive: Receive,
    headers: Headers,
    settings: Settings,
    reservation: Reservation,
    threads: ThreadPool,
    end: float | None = None,
    body: Body | None = None,
) -> tuple[list[Upload], int]:
    """The pictures of a request, at least one, and the bytes of its body. Raises `ServiceError`, `ClientGoneError`.

    Their time ends with the settings' or, in the loop's time, at `end`. `body` reads it, or what its type calls for.
    """
    body = body or body_of(headers, settings.max_images)
    check_length(headers, settings.max_upload_bytes)
    size = 0
    pace = TransferRate(settings, end)
    try:
        async with asyncio.timeout_at(pace.until) as clock:
            async for chunk in _chunks(receive):
                size += len(chunk)
                if size > settings.max_upload_bytes:
                    raise _too_large(settings.max_upload_bytes, size)
                reservation.grow(len(chunk))
                body.feed(chunk)
                if pace.goes_on(len(chunk)):
                    clock.reschedule(pace.until)
    except TimeoutError:
        raise UploadTimeout(pace.complaint) from None
    # Base64 of a whole body takes tens of milliseconds; a raw body only changes hands.
    uploads = body.finish() if isinstance(body, RawBody | FormBody) else await threads.run(body.finish)
    return uploads, size


def body_of(headers: Headers, max_images: int) -> Body:
    """What reads a body of this content type. Raises `UnsupportedMediaType`."""
    check_encoding(headers)
    content_type = headers.get("content-type", OCTETS)
    declared = content_type.partition(";")[0].strip().lower()
    if declared == MULTIPART:
        return FormBody(content_type, max_images)
    if declared == JSON:
        return JsonBody(max_images)
    if declared == OCTETS or declared.startswith("image/"):
        return RawBody(declared)
    raise UnsupportedMediaType("The request's Content-Type is none of those accepted.", accepted=accepted())


def check_encoding(headers: Headers) -> None:
    """Refuse a body that would have to be unpacked first. Raises `UnsupportedMediaType`."""
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType("The body has a content encoding; send it as it is.", accepted=accepted())


def check_length(headers: Headers, limit: int) -> None:
    """Refuse a body that declares itself too long, before any of it is read. Raises `BodyTooLarge`."""
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
    return BodyTooLarge(f"The body has more than {limit} bytes.", limit=limit, actual=actual)


def upload_of(content: bytes, filename: str | None = None, declared: str | None = None) -> Upload:
    """A picture as it came; without bytes it carries that error."""
    declared = declared.partition(";")[0].strip().lower() if declared else None
    return Upload(content or EmptyBody("The picture has no bytes."), filename, declared)


def in_base64(content: str) -> Upload:
    """A picture as base64 or data: URI; what is neither carries that error."""
    declared = None
    if content.startswith("data:"):
        head, comma, content = content.partition(",")
        declared, _, encoding = head.removeprefix("data:").rpartition(";")
        if encoding.lower() != "base64" or not comma:
            return Upload(InvalidBase64("A data: URI needs ;base64 and a comma before its data."))
    try:
        # CPython lets excess padding pass: AAAA= for one.
        data = base64.b64decode(content, validate=True) if len(content) % 4 == 0 else None
    except ValueError:  # binascii.Error, or a character beyond ASCII
        data = None
    if data is None:
        return Upload(InvalidBase64("The content is not standard base64 with padding."))
    return upload_of(data, None, declared)


def malformed(error: ValidationError) -> MalformedJson:
    """The first mistakes, without the values and the names of foreign members: they are the caller's bytes."""
    rows = [{"parameter": ".".join(_documented(each)), "detail": each["msg"]} for each in error.errors()[:8]]
    return MalformedJson("The body is not the documented JSON.", errors=rows)


def _documented(mistake: ErrorDetails) -> list[str]:
    where = mistake["loc"][:-1] if mistake["type"] == "extra_forbidden" else mistake["loc"]
    return [str(step) for step in where]
