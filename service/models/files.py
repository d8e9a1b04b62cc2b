"""Files that other processes read while they are written, and files that cannot be used."""

import os
import tempfile
from pathlib import Path
from typing import Self


class FileError(ValueError):
    """A file that cannot be used; one sentence for the operator."""

    @classmethod
    def of(cls, source: str | Path, error: OSError | ValueError) -> Self:
        """Why what is at that path or address cannot be used."""
        return cls(f"{source}: {error.strerror if isinstance(error, OSError) else error}")


def write(path: Path, *parts: bytes | memoryview, mode: int = 0o600) -> None:
    """Put a file in place in one step: a reader finds all of it or what was there, and the last of two writers wins."""
    number, building = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(number, "wb") as file:
            file.writelines(parts)
        Path(building).chmod(mode)
        Path(building).replace(path)
    except BaseException:
        Path(building).unlink(missing_ok=True)
        raise
