"""Reads the images out of a multipart/form-data body (RFC 7578) while it streams in."""

import re
from collections.abc import Collection
from difflib import get_close_matches
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, MultipartState, parse_options_header

from service.errors import InvalidParameter, MalformedMultipart, TooManyImages
from service.gateway.http import mistakes
from service.tasks import parameter_names

FIELDS = ("file", "image")
OTHER_PARTS = 16  # other fields, which are skipped
HEADERS = 8
HEADER_BYTES = 4096
FILENAME_CHARACTERS = 255
# The parser is in Python and takes one microsecond for each delimiter. A body of 20 MiB of delimiters took 4 s.
DELIMITERS = 1000
PREAMBLE_BYTES = 4096
EXTENDED = re.compile(r";\s*filename\*\s*=\s*\"?utf-8'[^';]*'([^;\"\s]+)", re.IGNORECASE)
BINARY = {"", "7bit", "8bit", "binary"}
PARAMETERS: Final = parameter_names()
SIMILAR: Final = 0.65  # of a field's name to a parameter's; `topk` and `language` are, `type` and `name` are not
FIELDS_IGNORED: Final = "form_fields_ignored"
SEND_AS: Final = f"Send the image in the field '{FIELDS[0]}': with curl, -F {FIELDS[0]}=@photo.jpg."


class OtherField(NamedTuple):
    """A field whose content is dropped, and whether it has a file."""

    name: str
    has_file: bool


class Part:
    """One part of the form that contains an image. `field` is its name in the form."""

    def __init__(self, field: str, filename: str | None, declared: str | None, *, without_file: bool = False) -> None:
        self.field = field
        self.filename = filename
        self.declared = declared
        self.content = bytearray()
        self._without_file = without_file

    @property
    def is_blank(self) -> bool:
        """Whether this is a file input for which the user chose no file (HTML, section 4.10.22.4)."""
        return self._without_file and not self.content

    @property
    def is_metadata(self) -> bool:
        """Whether this is JSON about another part of the same name, as FilePond sends it (pqina/filepond#270)."""
        return self.filename is None and self.content.startswith(b"{")


class MultipartForm:
    """Collects the parts named `file` or `image` from the chunks of a body, and drops the content of other parts.

    A part whose name is that of a parameter is refused, because those belong into the URL. So is a part without a file
    whose name is similar to one of the route's `parameters`. `has_ignored` says whether there were others.
    """

    def __init__(self, content_type: str, max_images: int, parameters: Collection[str] = ()) -> None:
        self.parts: list[Part] = []
        self._parameters = parameters
        self._max_images = max_images
        self.has_ignored = False
        self._others: list[OtherField] = []
        self._delimiters = 0
        self._current: Part | None = None
        self._headers: dict[str, str] = {}
        self._field = bytearray()
        self._value = bytearray()
        self._parser = self._parser_of(content_type)
        self._start: bytearray | None = bytearray()  # the body until its first delimiter is complete

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the body. Raises `MalformedMultipart`, `TooManyImages` and `InvalidParameter`."""
        self._delimiters += chunk.count(self._parser.boundary)
        if self._delimiters > DELIMITERS:
            raise MalformedMultipart(f"The body contains its boundary more than {DELIMITERS} times.")
        if self._start is not None:
            chunk = self._after_preamble(chunk)
        try:
            self._parser.write(chunk)
        except FormParserError:  # its message contains bytes of the body
            raise MalformedMultipart("The parts break the grammar of multipart/form-data.") from None

    def finish(self) -> list[Part]:
        """Return the images in their order.

        Raises `MalformedMultipart` if the closing boundary is missing, and `InvalidParameter` if a file would be lost.
        """
        if self._parser.state != MultipartState.END:
            raise MalformedMultipart("The body ends before its closing boundary.")
        sent = [part for part in self.parts if not part.is_blank]
        images = [part for part in sent if not part.is_metadata] or sent
        self.has_ignored = bool(self._others) or len(images) < len(sent)
        if images and (lost := self._fields(has_file=True)):
            detail = f"There is also a file in {lost}. Name the field of each image {' or '.join(FIELDS)}."
            raise InvalidParameter(detail, errors=[{"parameter": FIELDS[0], "detail": detail}])
        return images

    def describe_without_images(self) -> str:
        """Return what the form has in place of an image, and how to send one."""
        if files := self._fields(has_file=True):
            return f"The form has a file in {files}. {SEND_AS}"
        if self.parts:
            return f"The field '{self.parts[0].field}' has no file. Choose one before you send the form."
        if texts := self._fields(has_file=False):
            return f"The form has no file, only text in {texts}. {SEND_AS}"
        return f"The form is empty. {SEND_AS}"

    def _fields(self, *, has_file: bool) -> str:
        """Return the other fields with or without a file by name, as `the field 'img'`. Unusual names are left out."""
        found = [each.name for each in self._others if each.has_file == has_file]
        names = [f"'{name}'" for name in dict.fromkeys(found) if mistakes.NAME.fullmatch(name)]
        if len(names) == 1:
            return f"the field {names[0]}"
        return f"the fields {', '.join(names)}" if names else "another field" if found else ""

    def _after_preamble(self, chunk: bytes) -> bytes:
        """Return the body from its first delimiter, or nothing yet. The parser takes neither text nor blanks there.

        Both are allowed (RFC 2046, section 5.1.1).
        """
        assert self._start is not None  # noqa: S101 - for the type checker
        self._start += chunk
        delimiter = self._parser.boundary[2:]
        found = re.search(rb"(?:\A|\r\n)" + re.escape(delimiter) + rb"(?:[ \t]*\r\n|(?=--))", self._start)
        if found and delimiter not in self._start[: found.start()]:
            rest, self._start = bytes(self._start[found.end() :]), None
            return delimiter + (b"" if rest.startswith(b"--") else b"\r\n") + rest
        if self._start.startswith(delimiter + b"\n"):
            raise MalformedMultipart("The lines of the form end with LF alone. They need CR LF.")
        if found or len(self._start) > PREAMBLE_BYTES:
            raise MalformedMultipart("The body does not begin with the boundary that the Content-Type names.")
        return b""

    def _parser_of(self, content_type: str) -> MultipartParser:
        boundary = parse_options_header(content_type)[1].get(b"boundary")
        if not boundary:
            raise MalformedMultipart(
                "The Content-Type has no boundary. Leave it out: your HTTP library writes it, with the boundary."
            )
        try:
            return MultipartParser(
                boundary,
                {
                    "on_part_begin": self._on_part_begin,
                    "on_part_data": self._on_part_data,
                    "on_header_field": self._on_header_field,
                    "on_header_value": self._on_header_value,
                    "on_header_end": self._on_header_end,
                    "on_headers_finished": self._on_headers_finished,
                },
                max_header_count=HEADERS,
                max_header_size=HEADER_BYTES,
            )
        except FormParserError:
            raise MalformedMultipart("The boundary is longer than 70 characters.") from None

    def _on_part_begin(self) -> None:
        self._headers = {}
        self._current = None

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        self._headers[self._field.decode("latin-1").lower()] = self._value.decode("latin-1")
        self._field, self._value = bytearray(), bytearray()

    def _on_headers_finished(self) -> None:
        disposition = self._headers.get("content-disposition", "")
        _, options = parse_options_header(disposition)
        given = _extended(disposition) or options.get(b"filename")
        name = options.get(b"name", b"").decode("latin-1")
        if name not in FIELDS:
            self._skip(OtherField(name, has_file=bool(given)))
            return
        encoding = self._headers.get("content-transfer-encoding", "").strip().lower()
        if encoding not in BINARY:
            raise MalformedMultipart("A part has a Content-Transfer-Encoding. Send the bytes of the image (binary).")
        if len(self.parts) == self._max_images:
            raise TooManyImages(
                f"The form has more than the allowed {self._max_images} images.",
                limit=self._max_images,
                actual=self._max_images + 1,
            )
        declared = self._headers.get("content-type")
        self._current = Part(name, _filename(given), declared, without_file=given == b"")
        self.parts.append(self._current)

    def _skip(self, other: OtherField) -> None:
        is_parameter = bool(self._parameters) and (other.name in PARAMETERS or not other.has_file)
        if is_parameter and (mistake := misplaced(other.name, self._parameters)):
            raise mistake
        self._others.append(other)
        if len(self._others) > OTHER_PARTS:
            raise MalformedMultipart(f"The form has more than {OTHER_PARTS} fields besides the images.")

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._current is not None:
            self._current.content += memoryview(data)[start:end]


def misplaced(name: str, parameters: Collection[str]) -> InvalidParameter | None:
    """Return the error for a member of the body that means one of the route's `parameters`, or one of another route.

    Return None if the name is not similar to any.
    """
    if name in parameters:
        detail = f"The body holds only images. Send `{name}` in the URL, as ?{name}=..."
    else:
        folded = name.lower().replace("-", "_")
        if folded not in PARAMETERS and not get_close_matches(folded, parameters, 1, SIMILAR):
            return None
        detail = f"{mistakes.unknown(name, parameters)} The body holds only images: send parameters in the URL."
    return InvalidParameter.of([(name, detail)])


def _extended(disposition: str) -> bytes | None:
    """Return the name in a `filename*` parameter in UTF-8 (RFC 8187, section 3.2.1).

    Forms may not have it (RFC 7578, section 4.2), but .NET and old versions of Python's `requests` send it.
    """
    found = EXTENDED.search(disposition)
    return unquote_to_bytes(found[1]) if found else None


def _filename(raw: bytes | None) -> str | None:
    """Return the name without folders and control characters, because the response contains it."""
    if raw is None:
        return None
    name = raw.decode("utf-8", "replace").replace("\\", "/").rpartition("/")[2]
    printable = "".join(character for character in name if character.isprintable())
    return printable[:FILENAME_CHARACTERS] or None
