"""`python -m benchmarks.stress`: measure overload, deadlines, and a single caller during floods.

Overload and deadlines are measured with ResNeSt-50 (random weights), floods with the starter models, each on a new
service. The load generator shares the cores with the service. The table and all figures are written to
`benchmarks/results/stress.md` and `.json`.
"""

import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import click

from benchmarks import made_models, results, scoreboard
from benchmarks.bars.rounds import CLASSIFIER
from benchmarks.contest.contestants import CONTESTANTS
from benchmarks.contest.runner import Contest, ContestError, Entry, started
from benchmarks.scoreboard import Bar, Measures, one
from benchmarks.stress import deadlines, lone_caller, overload
from service.measure.tables import table

STARTER = made_models.STARTERS[0]
# By name: the function that measures, the model, and additional variables of the service.
MEASUREMENTS: Final[dict[str, tuple[Callable[[Entry, float], Measures], str, Mapping[str, str]]]] = {
    "overload": (overload.measure, CLASSIFIER, {}),
    "deadlines": (deadlines.measure, CLASSIFIER, {}),
    "beside": (lone_caller.measure, STARTER, lone_caller.VARIABLES),
}


def bars() -> list[Bar]:
    """Return the targets."""
    found = []
    for load in overload.FLOODS:
        limit_ms = load.deadline_s * 1e3
        found += [
            Bar(f"{load}: goodput / peak", one(f"{load}: goodput / peak"), at_least=0.9),
            Bar(f"{load}: accepted p99", one(f"{load}: accepted p99, ms"), at_most=limit_ms, unit=" ms"),
            Bar(f"{load}: rejection p99", one(f"{load}: rejection p99, ms"), at_most=50, unit=" ms"),
            Bar(f"{load}: without an answer", one(f"{load}: without an answer"), at_most=0),
        ]
    for stage in deadlines.STAGES:
        name = f"off its deadline in {stage}"
        found.append(Bar(f"{name}, at the most", one(f"{name}, ms"), at_most=50, unit=" ms"))
    for name, bounds in lone_caller.BARS.items():
        for bound, other in zip(bounds, ("alone", "beside as many good"), strict=True):
            figure = f"beside {name}, p99 / {other}"
            found.append(Bar(f"a lone caller {figure}", one(figure), at_most=bound))
    return found


@click.command(help=__doc__)
@click.option("--store", type=click.Path(path_type=Path), default="benchmarks/store", show_default=True)
@click.option("--only", type=click.Choice(list(MEASUREMENTS)), multiple=True, help="What to measure. Default: all.")
@click.option("--repeats", default=1, show_default=True, type=click.IntRange(1))
@click.option("--seconds", default=10.0, show_default=True, type=click.FloatRange(1), help="Seconds of each load.")
@click.option("--into", type=click.Path(path_type=Path), default="benchmarks/results", show_default=True)
def main(store: Path, only: Sequence[str], repeats: int, seconds: float, into: Path) -> None:
    """Measure, print a table and write it. Exit with 1 if something could not be measured."""
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))  # to stop the started processes
    made_models.make(store, [CLASSIFIER])
    found: list[dict[str, float]] = []
    failures: list[str] = []
    for _ in range(repeats):
        found.append({})
        for name in only or MEASUREMENTS:
            click.echo(name, err=True)
            try:
                found[-1] |= measure(name, store, seconds)
            except (ContestError, OSError) as error:
                failures.append(f"{name}: {error}")
    rows = [row for row in scoreboard.rows(found, bars()) if row[-1] != "not measured"]
    click.echo(table(scoreboard.HEAD, rows))
    click.echo("\n".join(f"FAILED: {each}" for each in failures))
    write(into, rows, found, failures)
    sys.exit(1 if failures else 0)


def measure(name: str, store: Path, seconds: float) -> Measures:
    """Start the service and return the figures of one of `MEASUREMENTS`."""
    function, model, variables = MEASUREMENTS[name]
    where = made_models.PUBLISHED if model == STARTER else store
    with started(CONTESTANTS["ours"], Contest("same", where, model), variables) as entry:
        return function(entry, seconds)


def write(into: Path, rows: Sequence[Sequence[str]], found: Sequence[Measures], failures: Sequence[str]) -> None:
    """Write the result files."""
    document = {**results.head("stress"), "failures": list(failures), "repeats": list(found)}
    figures = scoreboard.markdown(("figure", "least", "median", "most"), scoreboard.absolutes(found))
    results.write(into, "stress", document, f"{scoreboard.markdown(scoreboard.HEAD, rows)}\n{figures}")


if __name__ == "__main__":
    main()
