"""Atomic file writes, and the error for a file that cannot be used."""

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Self


class FileError(ValueError):
    """A file is unusable; the message is one sentence for the operator."""

    @classmethod
    def of(cls, source: str | Path, error: OSError | ValueError) -> Self:
        """Return the error for the file at a path or URL, with the reason from `error`."""
        return cls(f"{source}: {error.strerror if isinstance(error, OSError) else error}")


def write(path: Path, *parts: bytes | memoryview, mode: int = 0o600, keep_access: bool = False) -> None:
    """Replace a file atomically: a reader sees the old or the new content. The last of two concurrent writers wins.

    With `keep_access` an existing file keeps its mode and, where this user may set them, its owner and group.
    """
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(parts)
        before = path.stat() if keep_access and path.exists() else None
        if before:
            with suppress(PermissionError):  # only root may give a file to another user
                os.chown(temporary, before.st_uid, before.st_gid)
        Path(temporary).chmod(stat.S_IMODE(before.st_mode) if before else mode)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
