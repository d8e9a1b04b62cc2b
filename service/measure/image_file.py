"""Read image files from disk: never a pipe, which would block, and never more than any service takes."""

import errno
import os
import stat
from pathlib import Path
from typing import Final

from service.errors import BodyTooLarge

MAX_BYTES: Final = 1 << 28  # 256 MiB: above every limit of a service, below the memory of a machine


def read(path: Path) -> bytes:
    """Return the bytes of a file. Raises `OSError`, also if it is not a regular file, and `BodyTooLarge`."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", os.fspath(path))
    if found.st_size > MAX_BYTES:
        raise BodyTooLarge(f"The file has {found.st_size} bytes.", limit=MAX_BYTES, actual=found.st_size)
    return path.read_bytes()
