"""Images to send: paths, bytes and open files; and the images of a folder."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

Image = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO

SUFFIXES: Final = frozenset(
    {".avif", ".bmp", ".gif", ".heic", ".heif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
)


def read_image(image: Image) -> bytes:
    """Return the bytes of an image: of the file at a path, or of an open binary file from its position on.

    Raise `OSError` for a file that cannot be read, and `TypeError` for an object that is no image.
    """
    if isinstance(image, str | os.PathLike):
        return Path(image).read_bytes()
    if isinstance(image, bytes | bytearray | memoryview):
        return bytes(image)
    content = image.read() if hasattr(image, "read") else None
    if not isinstance(content, bytes):
        raise TypeError("an image is a path, bytes, or a file that is opened in binary mode")
    return content


def images_in(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield the image files in a folder and the folders in it, sorted, by their suffixes.

    Raise `OSError` for a folder that is not there or cannot be read.
    """
    with os.scandir(folder):  # `rglob` would find nothing in a folder that is not there
        pass
    yield from sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
