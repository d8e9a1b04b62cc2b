"""Watch a file and reload it when it changes."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

log = logging.getLogger(__name__)

Value = TypeVar("Value")

RELOAD_S = 2.0


class WatchedFile(Generic[Value]):
    """The content of a file. If the file becomes unreadable, the previous content stays in force."""

    def __init__(
        self,
        file: Path,
        read: Callable[[Path], Value],
        set_stale: Callable[[int], object],
        reload_s: float = RELOAD_S,
    ) -> None:
        """Read the file. Raise what `read` raises: `ValueError` if the file is unusable.

        Each reload calls `set_stale`: with 1 if the file is unusable, or 0.
        """
        self.file = file
        self.mistake: str | None = None
        self._read = read
        self._set_stale = set_stale
        self._reload_s = reload_s
        self._seen = _state(file)
        self.value = read(file)

    async def watch(self) -> None:
        """Reload the file whenever it changes."""
        while True:
            await asyncio.sleep(self._reload_s)
            if (state := _state(self.file)) != self._seen:
                self._seen = state
                self.reload()

    def reload(self) -> None:
        """Reload the file now; log an unusable one and keep the previous content."""
        try:
            self.value = self._read(self.file)
        except ValueError as error:
            self.mistake = str(error)
            log.error("not reloaded, the previous content stays in force: %s", error)
        else:
            self.mistake = None
            log.warning("%s has changed and was reloaded", self.file)
        self._set_stale(int(self.mistake is not None))


def _state(file: Path) -> tuple[int, int, int] | None:
    """Return what changes with a file, or with the target of a symbolic link; None without a file."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
