"""Words what a caller has sent who gave the name of a file, or another text, in place of the file's bytes."""

import shlex
from codecs import getincrementaldecoder
from typing import Final

from service.gateway.uploads.multipart import FIELDS
from service.imaging import decoder
from service.imaging.formats import unsupported
from service.imaging.formats.file_names import name_in

TEXT_BYTES: Final = 256  # of a field's content, which are checked for characters that no text has
UTF_8: Final = getincrementaldecoder("utf-8")


def in_place_of_image(name: str) -> str:
    """Return that a body is the name of a file, and how curl sends the file."""
    raw, form = shlex.quote(f"@{name}"), _form(FIELDS[0], name)
    return f"The body is the text {name}, not that file. With curl, write --data-binary {raw} or {form}."


def in_place_of_json(name: str) -> str:
    """Return that a body of JSON is the name of a file, and how curl sends the file."""
    form = _form(FIELDS[0], name)
    return f"The body is the text {name}, not JSON. To send that file, write {form} in curl, without a Content-Type."


def in_place_of_file(field: str, content: bytes) -> str | None:
    """Return that a field of a form holds text, and how curl sends a file in it.

    Return None if the field holds nothing, an image, another format that the decoder will name, or no text.
    """
    if name := name_in(content):
        return f"The field '{field}' holds the text {name}, not that file. With curl, write {_form(field, name)}."
    start = content[:TEXT_BYTES]
    if not start or decoder.sniff(start) or unsupported.format_of(content) or not _is_text(start):
        return None
    return f"The field '{field}' holds text, not a file. With curl, write {_form(field, 'photo.jpg')}."


def _form(field: str, name: str) -> str:
    return f"-F {shlex.quote(f'{field}=@{name}')}"


def _is_text(start: bytes) -> bool:
    try:
        text = UTF_8().decode(start)  # its last character may be cut
    except UnicodeDecodeError:
        return False
    return all(each.isprintable() or each.isspace() for each in text)
