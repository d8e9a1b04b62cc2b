"""What `TorchServeLog` finds in TorchServe's log, and how that log is configured."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from service.host import torchserve_log
from service.host.torchserve_log import CANNOT_LOAD, TorchServeLog

Grow = Callable[[str], list[str]]

TIME = "2026-11-21T09:43:41,088"


@pytest.fixture
def log(tmp_path: Path) -> TorchServeLog:
    (tmp_path / "torchserve.log").touch()
    return TorchServeLog(tmp_path / "torchserve.log")


@pytest.fixture
def grow(log: TorchServeLog, caplog: pytest.LogCaptureFixture) -> Callable[[str], list[str]]:
    """Append text to the log, and return the messages that `read` logs."""
    caplog.set_level("DEBUG")

    def appended(text: str) -> list[str]:
        with log.path.open("a", encoding="utf-8") as file:
            file.write(text)
        caplog.clear()
        log.read()
        return [record.getMessage() for record in caplog.records]

    return appended


def facts(caplog: pytest.LogCaptureFixture) -> dict[str, Any]:
    """Return the level and the fields of the only record."""
    (record,) = caplog.records
    names = ("component", "source", "model", "code", "time")
    return {"level": record.levelname} | {name: vars(record)[name] for name in names if name in vars(record)}


@pytest.mark.parametrize(("level", "logged"), [("WARN ", "WARNING"), ("ERROR", "ERROR"), ("FATAL", "CRITICAL")])
def test_warnings_and_errors_are_passed_on(
    grow: Grow, caplog: pytest.LogCaptureFixture, level: str, logged: str
) -> None:
    assert grow(f"{TIME} {level} org.pytorch.Serve - queue full\n") == ["queue full"]
    assert facts(caplog) == {"level": logged, "component": "torchserve", "source": "org.pytorch.Serve"}
    assert grow(f"{TIME} {level} MODEL_LOG - Segmentation fault\n") == ["Segmentation fault"]
    assert facts(caplog) == {"level": logged, "component": "worker"}


def test_a_line_that_a_worker_wrote_keeps_its_level_time_and_fields(
    grow: Grow, caplog: pytest.LogCaptureFixture
) -> None:
    line = '{"time":"2026-11-29T10:00:00.000Z","level":"error","logger":"x","event":"failed","model":"cat"}'

    assert grow(f"{TIME} WARN  MODEL_LOG - {line}\n") == ["failed"]
    assert facts(caplog) == {
        "level": "ERROR",
        "component": "worker",
        "model": "cat",
        "time": "2026-11-29T10:00:00.000Z",
    }


@pytest.mark.parametrize("line", ["{}", "{broken", '{"event"', "[1]"])
def test_what_only_looks_like_such_a_line_is_passed_on_as_it_is(grow: Grow, line: str) -> None:
    assert grow(f"{TIME} WARN  MODEL_LOG - {line}\n") == [line]


@pytest.mark.parametrize(
    "line", [f"{TIME} INFO  MODEL_LOG - Torch worker started.", "WARNING: sun.misc.Unsafe", "\tat java.lang.Thread", ""]
)
def test_chatter_is_not(log: TorchServeLog, grow: Grow, line: str) -> None:
    assert grow(f"{line}\n") == []
    assert log.last_error == ""


def test_each_line_is_read_once_and_whole(log: TorchServeLog, grow: Grow) -> None:
    assert grow(f"{TIME} WARN  a - one\n{TIME} WARN  a - t") == ["one"]
    assert grow("wo\n") == ["two"]
    assert grow("") == []


def test_the_reason_why_a_worker_cannot_load_is_kept(log: TorchServeLog, grow: Grow) -> None:
    assert grow(f"{TIME} WARN  MODEL_LOG - CRITICAL service.worker {CANNOT_LOAD} cat: no weights\n") == []
    assert log.load_failure == "cat: no weights"


def test_the_reason_is_found_in_a_line_of_json(log: TorchServeLog, grow: Grow) -> None:
    line = f'{{"level":"critical","event":"{CANNOT_LOAD} cat: no weights"}}'
    assert grow(f"{TIME} WARN  MODEL_LOG - {line}\n") == []
    assert log.load_failure == "cat: no weights"


def test_the_last_error_of_a_dying_worker_is_kept(log: TorchServeLog, grow: Grow) -> None:
    lines = ["Traceback (most recent call last):", "ModuleNotFoundError: No module named 'service'", "Frontend gone."]
    grow("".join(f"{TIME} INFO  MODEL_LOG - {line}\n" for line in lines))
    assert log.last_error == ": ModuleNotFoundError: No module named 'service'"
    assert log.load_failure == ""


def test_the_error_of_a_java_that_does_not_start_is_kept(log: TorchServeLog, grow: Grow) -> None:
    grow("Error occurred during initialization of VM\n")
    assert log.last_error == ": Error occurred during initialization of VM"


def test_bytes_that_are_no_text_do_no_harm(log: TorchServeLog, grow: Grow) -> None:
    log.path.write_bytes(f"{TIME} WARN  a - ".encode() + b"\xff\xfe\n")
    assert grow("") == ["\ufffd\ufffd"]


def test_a_log_that_grew_too_long_starts_over(log: TorchServeLog, grow: Grow) -> None:
    line = f"{TIME} INFO  a - {'x' * 1000}\n"
    grow(line * (torchserve_log.MAX_BYTES // len(line) + 1))
    assert log.path.stat().st_size == 0
    assert grow(f"{TIME} WARN  a - on\n") == ["on"]


@pytest.mark.parametrize("in_json", [False, True])
def test_the_configuration_of_the_log_is_valid_xml_and_has_the_form_of_its_lines(*, in_json: bool) -> None:
    root = ElementTree.fromstring(torchserve_log.configuration(in_json=in_json))  # noqa: S314 - our own text
    patterns = {each.get("pattern") for each in root.iter("PatternLayout")}

    assert patterns == {torchserve_log.JSON_LINE if in_json else torchserve_log.TEXT_LINE, "%m%n"}
