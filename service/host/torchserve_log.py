"""Follows the log of TorchServe and its workers: warnings for the operator, and why a worker cannot start."""

import re
from collections.abc import Callable
from pathlib import Path

# The pattern of `torchserve.LOG_CONFIG`: time, level, logger - message.
# How a worker begins the line that says why it cannot start.
CANNOT_LOAD = "cannot load the model:"
LINE = re.compile(r"^\S+ (?P<level>WARN|ERROR|FATAL|INFO) +(?P<logger>\S+) - (?P<message>.*)$")
WORKERS = "MODEL_LOG"
ERROR = re.compile(r"^(?:[A-Za-z_.]+(?:Error|Exception)\b|FATAL|Error occurred during initialization).*")
MAX_BYTES = 4 << 20  # a longer log is truncated


class TorchServeLog:
    """A log file that a child appends to. `load_failure` is why a worker cannot load its model, once it is known."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.load_failure = ""
        self._error = ""
        self._position = 0
        self._partial = b""

    @property
    def last_error(self) -> str:
        """`: ` and the last error in the log, or an empty string."""
        return f": {self._error}" if self._error else ""

    def read(self, say: Callable[[str], None]) -> None:
        """Read what was written since the last call, and pass each warning to `say`."""
        with self.path.open("rb") as file:
            file.seek(self._position)
            *lines, self._partial = (self._partial + file.read()).split(b"\n")
            self._position = file.tell()
        for line in lines:
            self._take(line.decode(errors="replace"), say)
        if self._position > MAX_BYTES:
            self.path.open("wb").close()
            self._position = 0

    def _take(self, line: str, say: Callable[[str], None]) -> None:
        found = LINE.match(line)
        message = found["message"] if found else line
        if ERROR.match(message):
            self._error = message
        _, marked, reason = message.partition(CANNOT_LOAD)
        if marked:
            self.load_failure = reason.strip()
        elif found and found["level"] != "INFO":
            say(f"{found['logger'].removeprefix(WORKERS) or 'worker'}: {message}")
