"""What `TorchServeLog` finds in TorchServe's log."""

from pathlib import Path

import pytest

from service.host import torchserve_log
from service.host.torchserve_log import CANNOT_LOAD, TorchServeLog

TIME = "2026-11-21T09:43:41,088"


@pytest.fixture
def log(tmp_path: Path) -> TorchServeLog:
    (tmp_path / "torchserve.log").touch()
    return TorchServeLog(tmp_path / "torchserve.log")


def grow(log: TorchServeLog, text: str) -> list[str]:
    """Append `text` to the log, and return the warnings that `read` reports."""
    with log.path.open("a", encoding="utf-8") as file:
        file.write(text)
    said: list[str] = []
    log.read(said.append)
    return said


@pytest.mark.parametrize("level", ["WARN ", "ERROR", "FATAL"])
def test_warnings_and_errors_are_passed_on(log: TorchServeLog, level: str) -> None:
    assert grow(log, f"{TIME} {level} org.pytorch.Serve - queue full\n") == ["org.pytorch.Serve: queue full"]
    assert grow(log, f"{TIME} {level} MODEL_LOG - WARNING service.worker refused\n") == [
        "worker: WARNING service.worker refused"
    ]


@pytest.mark.parametrize(
    "line", [f"{TIME} INFO  MODEL_LOG - Torch worker started.", "WARNING: sun.misc.Unsafe", "\tat java.lang.Thread", ""]
)
def test_chatter_is_not(log: TorchServeLog, line: str) -> None:
    assert grow(log, f"{line}\n") == []
    assert log.last_error == ""


def test_each_line_is_read_once_and_whole(log: TorchServeLog) -> None:
    assert grow(log, f"{TIME} WARN  a - one\n{TIME} WARN  a - t") == ["a: one"]
    assert grow(log, "wo\n") == ["a: two"]
    assert grow(log, "") == []


def test_the_reason_why_a_worker_cannot_load_is_kept(log: TorchServeLog) -> None:
    assert grow(log, f"{TIME} WARN  MODEL_LOG - CRITICAL service.worker {CANNOT_LOAD} cat: no weights\n") == []
    assert log.load_failure == "cat: no weights"


def test_the_last_error_of_a_dying_worker_is_kept(log: TorchServeLog) -> None:
    lines = ["Traceback (most recent call last):", "ModuleNotFoundError: No module named 'service'", "Frontend gone."]
    grow(log, "".join(f"{TIME} INFO  MODEL_LOG - {line}\n" for line in lines))
    assert log.last_error == ": ModuleNotFoundError: No module named 'service'"
    assert log.load_failure == ""


def test_the_error_of_a_java_that_does_not_start_is_kept(log: TorchServeLog) -> None:
    grow(log, "Error occurred during initialization of VM\n")
    assert log.last_error == ": Error occurred during initialization of VM"


def test_bytes_that_are_no_text_do_no_harm(log: TorchServeLog) -> None:
    log.path.write_bytes(f"{TIME} WARN  a - ".encode() + b"\xff\xfe\n")
    assert grow(log, "") == ["a: \ufffd\ufffd"]


def test_a_log_that_grew_too_long_starts_over(log: TorchServeLog) -> None:
    line = f"{TIME} INFO  a - {'x' * 1000}\n"
    grow(log, line * (torchserve_log.MAX_BYTES // len(line) + 1))
    assert log.path.stat().st_size == 0
    assert grow(log, f"{TIME} WARN  a - on\n") == ["a: on"]
