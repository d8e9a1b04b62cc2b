"""The names of image files: their suffixes, and bytes that are such a name in place of the file's content."""

import re
from typing import Final

SUFFIXES: Final = frozenset(
    (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".heif")
)
MAX_NAME_BYTES: Final = 255  # as in most file systems
# A path as people write it behind the `@` of curl. It is no URL, and no field of a form (`file=cat.jpg`).
NAME: Final = re.compile(
    rf"@?((?!\w+://)[\w ./\\:~()+,'&-]+(?:{'|'.join(map(re.escape, sorted(SUFFIXES)))}))", re.IGNORECASE
)


def name_in(data: bytes) -> str | None:
    """Return the name of an image file if that is all that these bytes are, without the `@` of curl before it."""
    if len(data) > MAX_NAME_BYTES:
        return None
    try:
        found = NAME.fullmatch(data.decode().strip())
    except UnicodeDecodeError:
        return None
    return found[1] if found else None
