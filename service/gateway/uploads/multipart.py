"""Reads the images out of a multipart/form-data body (RFC 7578) while it streams in."""

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, MultipartState, parse_options_header

from service.errors import MalformedMultipart, TooManyImages

FIELDS = ("file", "image")
OTHER_PARTS = 16  # other fields, which are skipped
HEADERS = 8
HEADER_BYTES = 4096
FILENAME_CHARACTERS = 255
# The parser is in Python and takes one microsecond for each delimiter. A body of 20 MiB of delimiters took 4 s.
DELIMITERS = 1000


class Part:
    """One part of the form that contains an image."""

    def __init__(self, filename: str | None, declared: str | None) -> None:
        self.filename = filename
        self.declared = declared
        self.content = bytearray()


class MultipartForm:
    """Collects the parts named `file` or `image` from the chunks of a body, and drops the content of other parts."""

    def __init__(self, content_type: str, max_images: int) -> None:
        self.parts: list[Part] = []
        self._max_images = max_images
        self._others = 0
        self._delimiters = 0
        self._current: Part | None = None
        self._headers: dict[str, str] = {}
        self._field = bytearray()
        self._value = bytearray()
        self._parser = self._parser_of(content_type)

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the body. Raises `MalformedMultipart` and `TooManyImages`."""
        self._delimiters += chunk.count(self._parser.boundary)
        if self._delimiters > DELIMITERS:
            raise MalformedMultipart(f"The body contains its boundary more than {DELIMITERS} times.")
        try:
            self._parser.write(chunk)
        except FormParserError:  # its message contains bytes of the body
            raise MalformedMultipart("The parts break the grammar of multipart/form-data.") from None

    def finish(self) -> list[Part]:
        """Return the images in their order. Raises `MalformedMultipart` if the closing boundary is missing."""
        if self._parser.state != MultipartState.END:
            raise MalformedMultipart("The body ends before its closing boundary.")
        return self.parts

    def _parser_of(self, content_type: str) -> MultipartParser:
        boundary = parse_options_header(content_type)[1].get(b"boundary")
        if not boundary:
            raise MalformedMultipart("The Content-Type has no boundary.")
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
        _, options = parse_options_header(self._headers.get("content-disposition"))
        if options.get(b"name", b"").decode("latin-1") not in FIELDS:
            self._skip()
            return
        if len(self.parts) == self._max_images:
            raise TooManyImages(
                f"The form has more than the allowed {self._max_images} images.",
                limit=self._max_images,
                actual=self._max_images + 1,
            )
        self._current = Part(_filename(options.get(b"filename")), self._headers.get("content-type"))
        self.parts.append(self._current)

    def _skip(self) -> None:
        self._others += 1
        if self._others > OTHER_PARTS:
            raise MalformedMultipart(f"The form has more than {OTHER_PARTS} fields besides the images.")

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._current is not None:
            self._current.content += memoryview(data)[start:end]


def _filename(raw: bytes | None) -> str | None:
    """Return the name without folders and control characters, because the response contains it."""
    if raw is None:
        return None
    name = raw.decode("utf-8", "replace").replace("\\", "/").rpartition("/")[2]
    printable = "".join(character for character in name if character.isprintable())
    return printable[:FILENAME_CHARACTERS] or None
