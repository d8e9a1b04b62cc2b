"""Read text files that people edit with any editor: labels, cards, tables, API keys, traffic shares."""

import codecs
import csv
import io
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

# UTF-32's little-endian mark begins with UTF-16's, so it is tried first.
FOREIGN_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
SEPARATORS: Final = ",;\t|"


class TextError(ValueError):
    """A file is not UTF-8 text, or a table lacks a column; the message names what was found and the cure."""


def read(path: Path) -> str:
    """Return the text of a UTF-8 file without its byte order mark. Line ends become `\\n`.

    Raises `OSError`, and `TextError` for another encoding.
    """
    return decode(path.read_bytes())


def decode(data: bytes) -> str:
    """Return UTF-8 bytes as text, as `read` does. Raises `TextError` for another encoding."""
    foreign = next((name for mark, name in FOREIGN_MARKS if data.startswith(mark)), None)
    if foreign is None and b"\0" in data[:200]:
        foreign = "UTF-16 without a byte order mark, or not text"
    if foreign:
        raise TextError(f"it is {foreign}; save it as UTF-8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        what = f"line {line} has the byte 0x{data[error.start]:02x}, which is not UTF-8"
        raise TextError(f"{what}; save it as UTF-8") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def name(text: str) -> str:
    """Return a name without surrounding white space, in Unicode's composed form (NFC)."""
    return unicodedata.normalize("NFC", text).strip()


def printable(text: object) -> str:
    """Return a path or name as valid Unicode. A byte of a file name that is not UTF-8 becomes `\\xNN`."""
    return str(text).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def folded(text: str) -> str:
    """Return the form in which names are compared: NFC, no case, and any white space or `_` as one blank."""
    return " ".join(unicodedata.normalize("NFC", text.replace("_", " ").casefold()).split())


def table(text: str, columns: Iterable[str], what: str) -> list[Mapping[str, str]]:
    """Return the rows of a table that commas separate. Cells that a row lacks are empty.

    Raises `TextError`, with the columns and the separator that were found, if one of `columns` is missing.
    """
    head = text.partition("\n")[0]
    reader = csv.DictReader(io.StringIO(text), restval="", skipinitialspace=True)
    found = [name(column) for column in reader.fieldnames or ()]
    missing = [column for column in columns if column not in found]
    if missing:
        separator = max(SEPARATORS, key=head.count)
        raise TextError(
            f"{what} has no column {', '.join(missing)}: it must be separated by ','; its first line is {head[:100]!r}"
            + (f", separated by {separator!r}" if head.count(separator) else "")
        )
    reader.fieldnames = found
    rows: list[Mapping[str, str]] = []
    for row in reader:
        if None in row:
            raise TextError(f"line {reader.line_num} of {what} has more cells than the first line")
        rows.append({key: cell.strip() for key, cell in row.items()})
    return rows
