"""What TorchServe and its workers write, read as it grows: warnings for the operator, and why a worker cannot start."""

import re
from collections.abc import Callable
from pathlib import Path

from service.host.handler_modules import CANNOT_LOAD

# The pattern of packaging.LOG_CONFIG: time, level, logger - message.
LINE = re.compile(r"^\S+ (?P<level>WARN|ERROR|FATAL|INFO) +(?P<logger>\S+) - (?P<message>.*)$")
WORKERS = "MODEL_LOG"
WORDS = re.compile(r"^(?:[A-Za-z_.]+(?:Error|Exception)\b|FATAL|Error occurred during initialization).*")
LONGEST = 4 << 20  # bytes; a longer log starts over


class TorchServeLog:
    """A log file that a child appends to. `reason` is why a worker cannot load its model, once one has said so."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.reason = ""
        self._error = ""
        self._position = 0
        self._partial = b""

    @property
    def last_words(self) -> str:
        """`: ` and the last error in it, or nothing."""
        return f": {self._error}" if self._error else ""

    def read(self, say: Callable[[str], None]) -> None:
        """Take in what was written since the last time, and say the warnings among it."""
        with self.path.open("rb") as file:
            file.seek(self._position)
            *lines, self._partial = (self._partial + file.read()).split(b"\n")
            self._position = file.tell()
        for line in lines:
            self._take(line.decode(errors="replace"), say)
        if self._position > LONGEST:
            self.path.open("wb").close()
            self._position = 0

    def _take(self, line: str, say: Callable[[str], None]) -> None:
        found = LINE.match(line)
        message = found["message"] if found else line
        if WORDS.match(message):
            self._error = message
        _, marked, reason = message.partition(CANNOT_LOAD)
        if marked:
            self.reason = reason.strip()
        elif found and found["level"] != "INFO":
            say(f"{found['logger'].removeprefix(WORKERS) or 'worker'}: {message}")
