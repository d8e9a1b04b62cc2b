"""Decodes an image in base64 or in a data: URI, as encoders and web pages really write them."""

import base64
from typing import Final

from service.errors import InvalidBase64
from service.imaging.formats.file_names import MAX_NAME_BYTES, name_in

# Line ends of MIME's encoders (RFC 2045, section 6.8), and the alphabet for URLs (RFC 4648, section 5).
LINE_ENDS: Final = b"\r\n\t"
STANDARD: Final = bytes.maketrans(b"-_", b"+/")
ESCAPED: Final = ((b"%2B", b"+"), (b"%2F", b"/"), (b"%3D", b"="), (b"%0D", b""), (b"%0A", b""))  # in data: URIs

NOT_BASE64: Final = "The content is not base64."
HINTS: Final = (
    (("http://", "https://"), "The content is a URL. The service fetches none: send the bytes of the image in base64."),
    (("b'", 'b"'), "The content begins with Python's b'...'. Send the text alone: base64.b64encode(data).decode()."),
    (("<",), "The content is markup, not base64."),
    (("[object ",), "The content is a JavaScript object as text. Read the file first, and encode its bytes."),
)
FILE_NAME: Final = "The content is the name of a file. Send the bytes of that file in base64."
BLANKS: Final = "The content has blanks in it. They may be plus signs that a form decoder has changed."


def decode(content: str) -> tuple[bytes, str | None]:
    """Return the bytes and the media type that a data: URI names. Raises `InvalidBase64`.

    Line ends, blanks around it, missing padding and the alphabet for URLs are accepted, because their meaning is clear.
    """
    text, declared = content, None
    if content[:64].lstrip()[:5].lower() == "data:":
        head, comma, text = content.partition(",")
        declared, _, encoding = head.strip()[5:].rpartition(";")
        if encoding.strip().lower() != "base64" or not comma:
            raise InvalidBase64("A data: URI needs ;base64 and a comma before its data.")
    found = _strict(text)
    if found is None:
        found = _strict(_normalised(text))
    if found is None:
        raise InvalidBase64(_reason(text))
    return found, declared


def _strict(text: str | bytes) -> bytes | None:
    try:
        # CPython accepts too much padding, such as AAAA=.
        return base64.b64decode(text, validate=True) if len(text) % 4 == 0 else None
    except ValueError:  # binascii.Error, or a non-ASCII character
        return None


def _normalised(text: str) -> bytes:
    """Return the text in the standard alphabet with padding. What is no base64 at all stays as it is.

    Each step is one pass in C. 20 MB take 0.1 s.
    """
    data = text.strip().encode("ascii", "replace")
    if b"%" in data:
        for escape, character in ESCAPED:
            data = data.replace(escape, character).replace(escape.lower(), character)
    data = data.translate(STANDARD, LINE_ENDS)
    return data if data.endswith(b"=") else data + b"=" * (-len(data) % 4)


def _reason(text: str) -> str:
    start = text[:64].lstrip().lower()
    for beginnings, reason in HINTS:
        if start.startswith(beginnings):
            return reason
    if name_in(text[: MAX_NAME_BYTES + 1].encode(errors="replace")):
        return FILE_NAME
    return BLANKS if " " in text.strip() else NOT_BASE64
