"""The progress of loads, on a terminal and elsewhere."""

from dataclasses import dataclass

import pytest
from rich.console import Console

from service.cli.load import load_progress


@dataclass
class Found:
    """The progress of a load so far."""

    share: float
    done: int = 30
    per_s: float = 12.4
    in_flight: int = 4
    errors: int = 1


def test_without_a_terminal_there_is_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = iter([0.0, 3.0, 11.0, 11.0, 15.0])
    monkeypatch.setattr("service.cli.load.load_progress.time.monotonic", lambda: next(seconds))
    with load_progress.load_progress() as watch:
        for share in (0.1, 0.5, 0.7):
            watch("16 callers", Found(share))

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "16 callers: 50%, 30 answered, 12/s, 4 in flight, 1 failed\n"


def test_on_a_terminal_there_is_a_bar_for_each_load(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Console, "is_terminal", property(lambda _self: True))
    monkeypatch.setenv("TERM", "xterm")
    with load_progress.load_progress() as watch:
        watch("4 callers", Found(1.0))
        watch("16 callers", Found(0.5))

    shown = capsys.readouterr().err
    assert "4 callers" in shown
    assert "16 callers" in shown
