"""The progress of loads: a bar on a terminal, else a line now and then."""
# ruff: noqa: PLC0415 - rich is loaded only where something is shown

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import click

QUIET_S: Final = 10.0  # between two lines of progress where standard error is no terminal


@contextmanager
def load_progress() -> Iterator[Callable[[Any, Any], None]]:
    """Yield what shows the progress of a load: a bar on a terminal, else a line every `QUIET_S` seconds."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[state]}"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        tasks: dict[Any, Any] = {}

        def watch(load: Any, found: Any) -> None:
            if load not in tasks:
                tasks[load] = bar.add_task(str(load), total=1, state="")
            bar.update(tasks[load], completed=found.share, state=_state(found))

        yield watch


def _lines() -> Callable[[Any, Any], None]:
    written = time.monotonic()

    def watch(load: Any, found: Any) -> None:
        nonlocal written
        if time.monotonic() - written >= QUIET_S:
            written = time.monotonic()
            click.echo(f"{load}: {found.share:.0%}, {_state(found)}", err=True)

    return watch


def _state(found: Any) -> str:
    return f"{found.done} answered, {found.per_s:.0f}/s, {found.in_flight} in flight, {found.errors} failed"
