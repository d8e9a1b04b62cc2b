"""A file that is read again when it changes."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

log = logging.getLogger(__name__)

Value = TypeVar("Value")

RELOAD_S = 2.0


class WatchedFile(Generic[Value]):
    """What a file says; where it cannot be read any more, what it said before stays in force."""

    def __init__(
        self,
        file: Path,
        read: Callable[[Path], Value],
        tell: Callable[[int], object],
        reload_s: float = RELOAD_S,
    ) -> None:
        """`read` raises `ValueError` where the file is no good: `tell` then hears 1, and 0 else.

        Raises what `read` does where the file is no good now.
        """
        self.file = file
        self.mistake: str | None = None
        self._read = read
        self._tell = tell
        self._reload_s = reload_s
        self._seen = _state(file)
        self.value = read(file)

    async def watch(self) -> None:
        """Take over what the file holds whenever it changes."""
        while True:
            await asyncio.sleep(self._reload_s)
            if (state := _state(self.file)) != self._seen:
                self._seen = state
                self.reload()

    def reload(self) -> None:
        """Read the file now."""
        try:
            self.value = self._read(self.file)
        except ValueError as error:
            self.mistake = str(error)
            log.error("not read again, what was read before stays in force: %s", error)
        else:
            self.mistake = None
            log.warning("%s has changed and is in force", self.file)
        self._tell(int(self.mistake is not None))


def _state(file: Path) -> tuple[int, int, int] | None:
    """What tells one state of a file from the next, a file behind a changed link among them."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
