"""Tables and progress where there is a terminal, and where there is none."""

import os
import pty
import subprocess
import sys

import pytest

from service.cli import terminal
from service.cli.terminal import PlainDownload, PlainProgress

QUESTION = """
import click
from service.cli.terminal import confirm
click.command()(lambda: confirm("Delete it?"))()
"""
SCRIPT = """
from service.cli.terminal import download, progress, show, show_table
show_table(("CHECK", "STATE"), [("port", "problem")], {"problem": "red"})
show([(("MODEL",), [("mine",)]), "It is new."])
with progress("files", 10, 5) as step:
    step(5, 1)
with download("mine") as here:
    here(20_000_000, 40_000_000)
    here(40_000_000, 40_000_000)
"""


def on_a_terminal(**environment: str) -> str:
    """Return what the script writes if its output is a terminal."""
    parent, child = pty.openpty()
    try:
        kept = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "FORCE_COLOR", "CI"}}
        known = {**kept, "TERM": "xterm-256color", "COLUMNS": "100", **environment}
        subprocess.run([sys.executable, "-c", SCRIPT], env=known, stdout=child, stderr=child, check=True, timeout=60)
        return os.read(parent, 1 << 16).decode()
    finally:
        os.close(parent)
        os.close(child)


def test_a_terminal_has_colours_and_a_bar() -> None:
    shown = on_a_terminal()

    assert "\x1b[31mproblem" in shown
    assert "10/10" in shown
    assert "40.0/40.0 MB" in shown


def test_no_color_is_obeyed() -> None:
    assert "\x1b[31m" not in on_a_terminal(NO_COLOR="1")


def test_without_a_terminal_there_are_no_colours_and_no_bar() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout == "CHECK  STATE\nport   problem\nMODEL\nmine\n\nIt is new.\n"
    assert done.stderr == "mine: 20 of 40 MB\n"


def test_progress_is_a_line_now_and_then_with_a_forecast(capsys: pytest.CaptureFixture[str]) -> None:
    times = iter((0.0, 10.0, 31.0, 31.0, 31.0, 40.0))
    progress = PlainProgress("classify", 1000, 100, clock=lambda: next(times))

    for _ in range(3):
        progress.step(50, 1)

    assert capsys.readouterr().err == "classify: 200 of 1000, 3.2/s, 4:08 remaining, 2 with a problem\n"


def test_a_download_is_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    times = iter((100.0, 110.0, 131.0, 131.0))
    shown = PlainDownload("mine", clock=lambda: next(times))

    for megabytes in (0, 5, 9):
        shown.show(megabytes * 10**6, None)

    assert capsys.readouterr().err == "mine: 0 MB\nmine: 9 MB\n"


def test_before_the_first_answer_there_is_no_forecast() -> None:
    assert PlainProgress("classify", 10, 5, clock=lambda: 0.0).text == "0.0/s, unknown remaining"


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (3599, "59:59"), (3723, "1:02:03")])
def test_a_duration_has_hours_only_if_it_is_that_long(seconds: float, text: str) -> None:
    assert terminal.duration(seconds) == text


@pytest.mark.parametrize(
    ("typed", "code", "said"),
    [("y\n", 0, ""), ("n\n", 1, "Aborted!"), ("", 1, "Error: there was no answer; --yes goes on without asking")],
)
def test_a_question_without_an_answer_names_the_option_that_answers_it(typed: str, code: int, said: str) -> None:
    command = [sys.executable, "-c", QUESTION]
    asked = subprocess.run(command, input=typed, capture_output=True, text=True, check=False, timeout=60)

    assert asked.returncode == code
    assert asked.stderr.strip() == said
