"""Configures and follows the log of TorchServe and its workers.

Their warnings are passed on, and the reason why a worker cannot start is found.

A worker's lines are those of `service.config.logs` in JSON, behind the time and level that TorchServe adds.
"""

import json
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

log = logging.getLogger(__name__)

# A line in text, which `torchserve_log` reads.
TEXT_LINE = "%d{ISO8601} %-5p %c - %m%n"
# A line of `service.config.logs`.
JSON_LINE = (
    '{"time":"%d{yyyy-MM-dd\'T\'HH:mm:ss.SSS\'Z\'}{UTC}","level":"%p{lowerCase=true}","component":"torchserve",'
    '"logger":"%c","event":"%enc{%m%notEmpty{ %ex}}{JSON}"}%n'
)
LOG_CONFIG = """<?xml version="1.0" encoding="UTF-8"?>
<Configuration status="ERROR">
  <Appenders>
    <Console name="console" target="SYSTEM_OUT">
      <PatternLayout pattern="{line}" alwaysWriteExceptions="{exceptions}"/>
    </Console>
    <!-- Workers write lines of their own form; other programs' lines get TorchServe's. -->
    <Console name="own" target="SYSTEM_OUT">
      <RegexFilter regex="{own}" onMatch="ACCEPT" onMismatch="DENY"/>
      <PatternLayout pattern="%m%n"/>
    </Console>
    <Console name="others" target="SYSTEM_OUT">
      <RegexFilter regex="{own}" onMatch="DENY" onMismatch="ACCEPT"/>
      <PatternLayout pattern="{line}"/>
    </Console>
  </Appenders>
  <Loggers>
    <Logger name="ACCESS_LOG" level="off"/>
    <!-- Logs three warnings per connection on a Unix socket, about TCP options. -->
    <Logger name="io.netty" level="error"/>
    <Logger name="MODEL_METRICS" level="off"/>
    <Logger name="TS_METRICS" level="off"/>
    <!-- A worker's standard output at INFO: a few lines when it starts. -->
    <Logger name="MODEL_LOG" level="info" additivity="false">
      <AppenderRef ref="own"/>
      <AppenderRef ref="others"/>
    </Logger>
    <Root level="warn">
      <AppenderRef ref="console"/>
    </Root>
  </Loggers>
</Configuration>
"""

# How a worker begins the line that says why it cannot start.
CANNOT_LOAD = "cannot load the model:"
LINE = re.compile(r"^\S+ (?P<level>WARN|ERROR|FATAL|INFO) +(?P<logger>\S+) - (?P<message>.*)$")
WORKERS = "MODEL_LOG"
LEVELS = {"debug": 10, "info": 20, "warn": 30, "warning": 30, "error": 40, "fatal": 50, "critical": 50}
ERROR = re.compile(r"^(?:[A-Za-z_.]+(?:Error|Exception)\b|FATAL|Error occurred during initialization).*")
MAX_BYTES = 4 << 20  # a longer log is truncated


def configuration(*, in_json: bool) -> str:
    """Return the configuration of TorchServe's log, log4j, in JSON or as text."""
    line = escape(JSON_LINE if in_json else TEXT_LINE, {'"': "&quot;"})
    own = r"(?s)\{.*\}" if in_json else "nothing matches this"
    return LOG_CONFIG.format(line=line, own=own, exceptions=str(not in_json).lower())


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

    def read(self) -> None:
        """Read what was written since the last call, and log each warning."""
        with self.path.open("rb") as file:
            file.seek(self._position)
            *lines, self._partial = (self._partial + file.read()).split(b"\n")
            self._position = file.tell()
        for line in lines:
            self._take(line.decode(errors="replace"))
        if self._position > MAX_BYTES:
            self.path.open("wb").close()
            self._position = 0

    def _take(self, line: str) -> None:
        found = LINE.match(line)
        message = found["message"] if found else line
        record = _record(message)
        if record:
            message = str(record["event"])
        if ERROR.match(message):
            self._error = message
        _, marked, reason = message.partition(CANNOT_LOAD)
        if marked:
            self.load_failure = reason.strip()
        elif record:
            _pass_on(record)
        elif found and found["level"] != "INFO":
            _pass_on({**_source(found["logger"]), "level": found["level"], "event": message})


def _record(message: str) -> dict[str, Any] | None:
    """Return the record that a worker wrote as JSON, None if the message is something else."""
    if not message.startswith("{"):
        return None
    try:
        record = json.loads(message)
    except ValueError:
        return None
    return record if isinstance(record, dict) and "event" in record else None


def _source(logger: str) -> dict[str, str]:
    """Return the fields that say who wrote a line: a worker's output, or a class of TorchServe."""
    return {"component": "worker"} if logger == WORKERS else {"component": "torchserve", "source": logger}


def _pass_on(record: Mapping[str, Any]) -> None:
    fields = {name: value for name, value in record.items() if name not in {"event", "level", "logger"}}
    level = LEVELS.get(str(record.get("level", "")).lower(), logging.WARNING)
    log.log(level, "%s", record["event"], extra={"component": "worker", **fields})
