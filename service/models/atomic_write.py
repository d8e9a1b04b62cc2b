"""Atomic file writes, and the error for a file that cannot be used."""

import os
import tempfile
from pathlib import Path
from typing import Self


class FileError(ValueError):
    """A file is unusable; the message is one sentence for the operator."""

    @classmethod
    def of(cls, source: str | Path, error: OSError | ValueError) -> Self:
        """Return the error for the file at a path or URL, with the reason from `error`."""
        return cls(f"{source}: {error.strerror if isinstance(error, OSError) else error}")


def write(path: Path, *parts: bytes | memoryview, mode: int = 0o600) -> None:
    """Replace a file atomically: a reader sees the old or the new content. The last of two concurrent writers wins."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(parts)
        Path(temporary).chmod(mode)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
