"""Parses request bodies into uploads: one image, a form, or JSON, chunk by chunk."""

import codecs
import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Final, Protocol

from pydantic import ValidationError
from starlette.datastructures import Headers

from service.errors import EmptyBody, InvalidBase64, MalformedJson, ServiceError, TooManyImages, UnsupportedMediaType
from service.gateway.http import mistakes
from service.gateway.http.media_types import JSON, MULTIPART, OCTETS, accepted
from service.gateway.uploads.multipart import FIELDS_IGNORED, MultipartForm, Part, misplaced
from service.gateway.uploads.parsers import base64_content, text_content
from service.gateway.uploads.parsers.json_mistakes import malformed_json
from service.imaging import decoder
from service.imaging.formats import unsupported
from service.imaging.formats.file_names import name_in
from service.tasks.shapes import ImagesBody

OTHER_ENCODINGS: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)
OBJECT_STORE_OCTETS: Final = "binary/octet-stream"  # not registered, but the default of S3 and of its clients

SNIFFED_BYTES: Final = 256  # a decoder knows each format by fewer
TEXT: Final = "text/plain"
URLENCODED: Final = "application/x-www-form-urlencoded"
# What curl, browsers and HTTP libraries send if the program names no type. Others may be private and are not repeated.
DEFAULT_TYPES: Final = {URLENCODED, TEXT, "text/json", "text/html", "multipart/mixed", "video/mp4"}
WAYS: Final = (
    "Send one image with its type, as image/jpeg, or a form with the image in a field named file, or JSON as "
    "application/json. In curl: -H 'Content-Type: image/jpeg' with --data-binary @photo.jpg, or -F file=@photo.jpg."
)
BASE64_WAY: Final = ' Base64 belongs into JSON: {"images": [{"content": "<base64>"}]}.'
FORM_DETAIL: Final = (
    "The body is a form, not JSON. Leave the Content-Type out: your HTTP library writes it, with the form's boundary."
)
WITHOUT_LINE_ENDS_DETAIL: Final = (
    "The image has lost its line ends, because curl -d removes them. "
    "Use --data-binary @photo.jpg or -F file=@photo.jpg."
)
# curl -d reads lines of text. It drops their ends, and what follows a zero in a line. So a PNG lacks the line ends of
# its first bytes, and the first segment of a JPEG lacks its length.
WITHOUT_LINE_ENDS: Final = re.compile(rb"\x89PNG\x1a|\xff\xd8\xff[\xe0\xe1](?!..(?:JFIF|JFXX|Exif|http))", re.DOTALL)


@dataclass(frozen=True)
class Upload:
    """One image's bytes, or the error in their place, with the file name and media type that the request declares.

    `warnings` say what of the request was not read.
    """

    content: bytes | ServiceError
    filename: str | None = None
    declared: str | None = None
    warnings: tuple[str, ...] = ()


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
        """Return the one image; without a body it has `EmptyBody` in place of its bytes."""
        if not self._content:
            return [Upload(EmptyBody(f"The request has no body. {WAYS}"), None, self._declared)]
        return [upload_of(bytes(self._content), None, self._declared)]


class UrlencodedBody(RawBody):
    """A body that `curl --data-binary` sends. It calls each body a form, so this one is read if it is an image.

    Anything else is refused as soon as its first bytes are there.
    """

    def __init__(self) -> None:
        super().__init__(None)
        self._is_image = False

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes. Raises `UnsupportedMediaType` if they are not those of an image."""
        super().feed(chunk)
        if not self._is_image and len(self._content) >= SNIFFED_BYTES:
            self._check()

    def finish(self) -> list[Upload]:
        """Return the one image. Raises `UnsupportedMediaType` if the body is none."""
        if self._content and not self._is_image:
            self._check()
        return super().finish()

    def _check(self) -> None:
        start = bytes(self._content[:SNIFFED_BYTES])
        if name := name_in(start):
            raise UnsupportedMediaType(text_content.in_place_of_image(name), accepted=accepted())
        if WITHOUT_LINE_ENDS.match(start):
            raise UnsupportedMediaType(WITHOUT_LINE_ENDS_DETAIL, accepted=accepted())
        if decoder.sniff(start) is None:
            raise type_not_accepted(URLENCODED)
        self._is_image = True


class FormBody:
    """A form with an image in each field named `file` or `image`."""

    def __init__(self, content_type: str, max_images: int, parameters: Collection[str] = ()) -> None:
        self._form = MultipartForm(content_type, max_images, parameters)

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""
        self._form.feed(chunk)

    def finish(self) -> list[Upload]:
        """Return the images of the form. Raises `EmptyBody` if it has none."""
        parts = self._form.finish()
        if not parts:
            raise EmptyBody(self._form.describe_without_images())
        warnings = (FIELDS_IGNORED,) if self._form.has_ignored else ()
        uploads = map(_upload_of_part, parts)
        return [replace(upload, warnings=warnings) for upload in uploads] if warnings else list(uploads)


class JsonBody:
    """`{"images": [{"content": "<base64 or data: URI>"}]}`, in UTF-8 (RFC 8259, section 8.1)."""

    def __init__(self, max_images: int, parameters: Collection[str] = ()) -> None:
        self._max_images = max_images
        self._parameters = parameters
        self._text = bytearray()

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""
        self._text += chunk

    def finish(self) -> list[Upload]:
        """Return the images; one that is not base64 has that error. Raises `ServiceError`, such as `MalformedJson`."""
        text = bytes(self._text).removeprefix(codecs.BOM_UTF8)
        self._check_kind(text)
        try:
            sent = ImagesBody.model_validate_json(text).images
        except ValidationError as error:
            for each in error.errors():
                name = str(each["loc"][0]) if len(each["loc"]) == 1 else ""
                if each["type"] == mistakes.UNKNOWN and (mistake := misplaced(name, self._parameters)):
                    raise mistake from None
            raise malformed_json(error) from None
        return [from_base64(content) for content in self._whole([image.content for image in sent], text)]

    def _check_kind(self, text: bytes) -> None:
        """Raise `MalformedJson`, `EmptyBody` or `TooManyImages` for what is no JSON, or no JSON to parse."""
        if decoder.sniff(text[:SNIFFED_BYTES]) is not None:
            raise MalformedJson(
                "The body is an image, not JSON. Send it with the Content-Type of an image, as image/jpeg."
            )
        if text.startswith(OTHER_ENCODINGS) or 0 in text[:2]:
            raise MalformedJson("The JSON is in UTF-16 or UTF-32. Send it in UTF-8.")
        if not text:
            raise EmptyBody(f"The request has no body. {MalformedJson.cure}")
        if name := name_in(text):
            raise MalformedJson(text_content.in_place_of_json(name))
        if unsupported.FORM.match(text[: unsupported.SEARCHED_BYTES]):
            raise MalformedJson(FORM_DETAIL)
        if text.lstrip()[:1] in (b"{", b"["):  # other bytes are no JSON, and are not taken for many objects
            self._check_brackets(text)

    def _whole(self, contents: list[str], text: bytes) -> list[str]:
        """Return the contents that were read, if these are all that the text has, and at least one."""
        if not contents:
            raise EmptyBody(f"The list of images is empty. {MalformedJson.cure}")
        if text.count(b'"content"') > len(contents):  # of two in one object, only the last one was read
            raise MalformedJson("An image has the member content more than once.")
        return contents

    def _check_brackets(self, text: bytes) -> None:
        """Reject JSON that would make millions of objects, before it is parsed.

        The brackets can be counted, because neither base64 nor a data: URI contains any. One in each content is left to
        the parser: JavaScript writes objects as `[object Promise]`.
        """
        sent = text.count(b"{") - 1
        if sent > self._max_images:
            raise TooManyImages(
                f"The body has more than the allowed {self._max_images} images.",
                limit=self._max_images,
                actual=sent,
            )
        # One comma between images, and one in each data: URI.
        if text.count(b"[") > 1 + self._max_images or text.count(b",") > 2 * self._max_images:
            raise MalformedJson(f"The body has lists or members that are not documented. {MalformedJson.cure}")


def parser_of(headers: Headers, max_images: int, parameters: Collection[str] = ()) -> BodyParser:
    """Return a parser for the body's content type, which refuses `parameters`.

    Raises `UnsupportedMediaType` and `MalformedMultipart`.
    """
    check_encoding(headers)
    content_type = headers.get("content-type", OCTETS)
    declared = content_type.partition(";")[0].strip().lower()
    if declared == MULTIPART:
        return FormBody(content_type, max_images, parameters)
    if declared == JSON:
        return JsonBody(max_images, parameters)
    if declared in {OCTETS, OBJECT_STORE_OCTETS} or declared.startswith("image/"):
        return RawBody(declared)
    if declared == URLENCODED:
        return UrlencodedBody()
    raise type_not_accepted(declared)


def type_not_accepted(declared: str) -> UnsupportedMediaType:
    """Return the error for a media type, which is named if it is one that clients choose by themselves."""
    named = f"The Content-Type {declared}" if declared in DEFAULT_TYPES else "The request's Content-Type"
    base64 = BASE64_WAY if declared == TEXT else ""
    return UnsupportedMediaType(f"{named} is not accepted. {WAYS}{base64}", accepted=accepted())


def check_encoding(headers: Headers) -> None:
    """Raise `UnsupportedMediaType` for a compressed body."""
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType("The body has a Content-Encoding; send it without one.", accepted=accepted())


def upload_of(content: bytes, filename: str | None = None, declared: str | None = None) -> Upload:
    """Return the upload of an image; without bytes it has `EmptyBody` in place of them."""
    declared = declared.partition(";")[0].strip().lower() if declared else None
    return Upload(content or EmptyBody("The image has no bytes."), filename, declared)


def _upload_of_part(part: Part) -> Upload:
    content = bytes(part.content)
    if part.filename is None and (detail := text_content.in_place_of_file(part.field, content)):
        return Upload(UnsupportedMediaType(detail, accepted=accepted()), None, part.declared)
    return upload_of(content, part.filename, part.declared)


def from_base64(content: str) -> Upload:
    """Return the upload of an image in base64 or a data: URI; it has `InvalidBase64` if the text is neither."""
    try:
        data, declared = base64_content.decode(content)
    except InvalidBase64 as error:
        return Upload(error)
    return upload_of(data, None, declared)
