"""The lines of the log: JSON or text, their fields, and changes by the file."""

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.config.log_settings import LogSettings
from service.config.logs import RELOAD_S, Logs

ours = logging.getLogger("service.test")


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Restore the loggers that `Logs` configures."""
    root, service = logging.getLogger(), logging.getLogger("service")
    before = root.handlers, root.level, service.level, service.handlers, service.propagate
    yield
    root.handlers, service.handlers, service.propagate = before[0], before[3], before[4]
    root.setLevel(before[1])
    service.setLevel(before[2])


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_an_object_with_time_level_component_logger_event_and_the_fields() -> None:
    stream = io.StringIO()
    Logs("gateway", LogSettings(), stream)
    ours.warning("%s is unavailable", "cat", extra={"model": "cat", "outage_s": 1.5})
    (line,) = lines(stream)

    assert line.pop("time")[10:] > "T"
    assert line == {
        "level": "warning",
        "component": "gateway",
        "logger": "service.test",
        "event": "cat is unavailable",
        "model": "cat",
        "outage_s": 1.5,
    }


def test_the_time_is_utc_in_milliseconds() -> None:
    stream = io.StringIO()
    Logs("gateway", LogSettings(), stream)
    record = ours.makeRecord("service.test", logging.WARNING, "", 0, "x", (), None)
    record.created, record.msecs = 1_000_000_000.25, 250.0
    ours.handle(record)

    assert lines(stream)[0]["time"] == "2001-09-09T01:46:40.250Z"


def test_an_exception_is_one_line_too() -> None:
    stream = io.StringIO()
    Logs("gateway", LogSettings(), stream)
    try:
        _ = 1 / 0
    except ZeroDivisionError:
        ours.exception("failed")
    (line,) = lines(stream)

    assert "ZeroDivisionError" in line["exception"]


def test_a_terminal_gets_text_and_a_setting_decides_against_it() -> None:
    terminal, forced = Terminal(), Terminal()
    Logs("gateway", LogSettings(), terminal)
    ours.warning("one", extra={"model": "cat"})
    Logs("gateway", LogSettings(log_format="json"), forced)
    ours.warning("two")

    assert "one" in terminal.getvalue()
    assert "cat" in terminal.getvalue()
    assert not terminal.getvalue().startswith("{")
    assert lines(forced)[0]["event"] == "two"


def test_our_loggers_have_the_level_of_the_setting_and_libraries_at_least_warning() -> None:
    stream = io.StringIO()
    Logs("gateway", LogSettings(log_level="debug"), stream)
    ours.debug("ours")
    logging.getLogger("library").info("chatter")
    logging.getLogger("library").warning("a warning")
    logging.getLogger("python_multipart").error("with bytes of an upload")

    assert [line["event"] for line in lines(stream)] == ["ours", "a warning"]


def test_a_changed_file_is_applied_without_a_restart(tmp_path: Path) -> None:
    now, stream, file, told = 0.0, io.StringIO(), tmp_path / "log.toml", list[LogSettings]()
    file.write_text('level = "error"', encoding="utf-8")
    logs = Logs("gateway", LogSettings(log_file=file), stream, lambda: now)
    logs.on_change = told.append
    ours.warning("not yet")
    file.write_text('level = "debug"\naccess = "all"\n', encoding="utf-8")
    logs.follow()
    ours.warning("not before the next look")
    now = RELOAD_S
    logs.follow()
    ours.debug("now")

    assert [line["event"] for line in lines(stream)] == ["the log settings were reloaded", "now"]
    assert [each.access_log for each in told] == ["all"]


def test_an_unusable_file_is_told_once_and_changes_nothing(tmp_path: Path) -> None:
    now, stream, file = 0.0, io.StringIO(), tmp_path / "log.toml"
    file.write_text('level = "info"', encoding="utf-8")
    logs = Logs("gateway", LogSettings(log_file=file), stream, lambda: now)
    file.write_text('level = "loud"', encoding="utf-8")
    now = RELOAD_S
    logs.follow()
    now = 2 * RELOAD_S
    logs.follow()
    ours.info("still")

    events = [line["event"] for line in lines(stream)]
    assert len(events) == 2
    assert "the previous ones stay in force" in events[0]
    assert events[1] == "still"


def test_a_process_whose_lines_another_one_reads_keeps_their_form(tmp_path: Path) -> None:
    file = tmp_path / "log.toml"
    file.write_text('format = "text"\nlevel = "error"', encoding="utf-8")
    logs = Logs("worker", LogSettings(log_format="json", log_file=file), io.StringIO(), keeps_format=True)

    assert logs.is_json
    assert logs.settings.log_level == "error"
