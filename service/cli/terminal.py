"""Tables and progress on a terminal. Where the output is no terminal there are no colours, and no line is rewritten."""
# ruff: noqa: PLC0415 - rich is loaded only where something is shown

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from rich.progress import TaskID

    from service.measure.tables import Table

QUIET_S: Final = 30.0  # between two lines of progress where standard error is no terminal

Step = Callable[[int, int], None]


def show_table(head: Sequence[str], rows: Sequence[Sequence[str]], colours: Mapping[str, str] | None = None) -> None:
    """Print a table. A terminal wraps long cells, and shows cells that are keys of `colours` in their colour."""
    if not sys.stdout.isatty():
        from service.measure.tables import table

        click.echo(table(head, rows))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=None, header_style="bold", pad_edge=False)
    for name in head:
        shown.add_column(name, overflow="fold")
    for row in rows:
        shown.add_row(*(Text(cell, style=(colours or {}).get(cell, "")) for cell in row))
    Console().print(shown)


def show(parts: "Sequence[Table | str]") -> None:
    """Print tables and sentences, with an empty line between them."""
    for number, part in enumerate(parts):
        if number:
            click.echo()
        if isinstance(part, str):
            click.echo(part)
        else:
            show_table(*part)


def confirm(question: str) -> None:
    """Ask before a command with `--yes` goes on. Raise `click.Abort` for a no, `click.ClickException` for no answer."""
    try:
        click.confirm(question, abort=True)
    except click.Abort as abort:
        if not isinstance(abort.__context__, EOFError):
            raise
        click.echo(err=True)
        raise click.ClickException("there was no answer; --yes goes on without asking") from None


@contextmanager
def progress(label: str, total: int, done: int) -> Iterator[Step]:
    """Show how many of `total` files are done, with a forecast of the remaining time, on standard error.

    The function that is yielded takes the number of files that were answered since, and of those among them that have
    a problem. Where standard error is no terminal, a line is written every `QUIET_S` seconds.
    """
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield PlainProgress(label, total, done).step
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[state]}"),
        TimeElapsedColumn(),
    )
    state = PlainProgress(label, total, done)
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(label, total=total, completed=done, state="")

        def step(answered: int, problems: int) -> None:
            state.count(answered, problems)
            bar.update(task, advance=answered, state=state.text)

        yield step


@contextmanager
def download(label: str) -> Iterator[Callable[[int, int | None], None]]:
    """Show the bytes of a download on standard error, from the first call of the function that is yielded.

    The function takes the bytes that are there, and of all of them, or None where their number is not known. Where
    standard error is no terminal, a line is written at the first call, and every `QUIET_S` seconds.
    """
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield PlainDownload(label).show
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task: TaskID | None = None

        def show(done: int, total: int | None) -> None:
            nonlocal task
            if task is None:
                task = bar.add_task(label, total=total)
            bar.update(task, completed=done, total=total)

        yield show


class PlainDownload:
    """Writes lines about a download, now and then."""

    def __init__(self, label: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin before the first byte; `clock` returns seconds."""
        self._label = label
        self._clock = clock
        self._written = -QUIET_S

    def show(self, done: int, total: int | None) -> None:
        """Write the megabytes that are there if the last line is old enough."""
        if self._written < 0 or self._clock() - self._written >= QUIET_S:
            self._written = self._clock()
            of_all = f" of {total / 1e6:.0f}" if total else ""
            click.echo(f"{self._label}: {done / 1e6:.0f}{of_all} MB", err=True)


class PlainProgress:
    """Counts answered files, and forecasts when all are answered from the speed of this run."""

    def __init__(self, label: str, total: int, done: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with `done` of `total` files; `clock` returns seconds."""
        self._label = label
        self._total = total
        self._done = self._earlier = done
        self._problems = 0
        self._clock = clock
        self._started = self._written = clock()

    def count(self, answered: int, problems: int) -> None:
        """Add answered files, of which some have a problem."""
        self._done += answered
        self._problems += problems

    def step(self, answered: int, problems: int) -> None:
        """Add answered files, and write a line if the last one is old enough."""
        self.count(answered, problems)
        if self._clock() - self._written >= QUIET_S:
            self._written = self._clock()
            click.echo(f"{self._label}: {self._done} of {self._total}, {self.text}", err=True)

    @property
    def text(self) -> str:
        """The speed, the forecast and the problems, in words."""
        per_s = (self._done - self._earlier) / max(self._clock() - self._started, 1e-9)
        remaining = duration((self._total - self._done) / per_s) if per_s else "unknown"
        problems = f", {self._problems} with a problem" if self._problems else ""
        return f"{per_s:.1f}/s, {remaining} remaining{problems}"


def duration(seconds: float) -> str:
    """Return a time as hours, minutes and seconds: `1:02:03`, or `2:03` below an hour."""
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
