"""`python -m benchmarks.bars`: every bar in interleaved repeats, as JSON and as the tables of docs/benchmarks.md.

A repeat starts everything anew and goes through it all; every other one goes backwards, so that what the machine does
meanwhile favours nobody. What fails is named, and the rest goes on. The files are written after every repeat.
"""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import click

from benchmarks import made_models, results, scoreboard
from benchmarks.bars import rounds
from benchmarks.bars.rounds import Pace
from benchmarks.contest.answers import Said
from benchmarks.contest.contestants import CONTESTANTS
from benchmarks.contest.runner import ContestError
from service.measure.tables import table

SHARED = ("torch", "openvino", "numpy", "pillow")

PACES = {
    True: Pace(repeats=3, seconds=4.0, warm_up_s=1.5, lone=150, crowds=(16, 64), segment_repeats=1),
    False: Pace(repeats=5, seconds=10.0, warm_up_s=4.0, lone=400, crowds=scoreboard.CROWDS, segment_repeats=5),
}


@dataclass
class Found:
    """What there is so far: the measures of each repeat, this service's answers, and why what is missing is missing."""

    repeats: list[dict[str, float]] = field(default_factory=list)
    answers: dict[str, list[Said]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)


@click.command()
@click.option("--store", type=click.Path(path_type=Path), default="benchmarks/store", show_default=True)
@click.option("--quick", is_flag=True, help="Three short repeats: some 12 minutes on two quiet cores, not 45.")
@click.option("--repeats", type=click.IntRange(1), help="Another number of them.")
@click.option("--seconds", type=click.FloatRange(0.5), help="Another duration of each load.")
@click.option("--only", metavar="STAGE[,STAGE...]", help=f"Of {', '.join(rounds.STAGES)}.")
@click.option("--into", type=click.Path(path_type=Path), default="benchmarks/results", show_default=True)
def main(store: Path, only: str | None, into: Path, *, quick: bool, **given: Any) -> None:
    """Measure this service against its bars, and beside its peers. Exits with 1 where something could not be."""
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))  # so that what was started is ended
    pace = PACES[quick].changed(**given)
    stages = chosen(only)
    made_models.make(store)
    found = Found()
    install(found)
    begun = time.monotonic()
    for place in range(pace.repeats):
        measures: dict[str, float] = {}
        found.repeats.append(measures)
        for name, stage in stages if place % 2 == 0 else reversed(stages):
            click.echo(f"{time.monotonic() - begun:5.0f} s, repeat {place + 1} of {pace.repeats}: {name}", err=True)
            attempt(stage, rounds.Round(store, pace, place, measures, found.answers), found)
        write(into, found, pace)
    click.echo(table(scoreboard.HEAD, scoreboard.rows(found.repeats)))
    click.echo("\n".join(("", *(f"FAILED: {each}" for each in found.failures))))
    sys.exit(1 if found.failures else 0)


def chosen(only: str | None) -> list[tuple[str, rounds.Stage]]:
    """The stages by name, all of them where none is named. Raises `click.BadParameter` for another name."""
    names = only.split(",") if only else list(rounds.STAGES)
    unknown = set(names) - rounds.STAGES.keys()
    if unknown:
        raise click.BadParameter(f"there is no stage {', '.join(sorted(unknown))}")
    return [(name, stage) for name, stage in rounds.STAGES.items() if name in names]


def install(found: Found) -> None:
    """Make the peers' environments; one that cannot be made is a failure, and its stages will fail too."""
    for contestant in CONTESTANTS.values():
        try:
            contestant.install()
        except (OSError, subprocess.CalledProcessError) as error:
            found.failures.append(f"{contestant.name} cannot be installed: {error}")


def attempt(stage: Callable[[rounds.Round], None], at: rounds.Round, found: Found) -> None:
    """A stage, whose failure is noted."""
    try:
        stage(at)
    except (ContestError, OSError) as error:
        found.failures.append(f"repeat {at.place + 1}: {error}")
        click.echo(f"FAILED: {error}", err=True)


def write(into: Path, found: Found, pace: Pace) -> None:
    """The files, as far as it has come."""
    told = {
        **results.head("bars"),
        "pace": pace.told(),
        "versions": versions(),
        "failures": found.failures,
        "repeats": found.repeats,
    }
    results.write(into, "bars", told, document(told))


def document(told: dict[str, Any]) -> str:
    """The Markdown: where and how, the bars, the figures they are made of, and what failed."""
    host, repeats = told["host"], told["repeats"]
    parts = [
        f"`{told['command']}`, {told['measured_at']}, {host['cores']} cores of {host['processor']}, "
        f"{host['system']}, Python {host['python']}; {told['pace']}.\n",
        ", ".join(f"{name} {version}" for name, version in told["versions"].items()) + ".\n",
        scoreboard.markdown(scoreboard.HEAD, scoreboard.rows(repeats)),
        scoreboard.markdown(("figure", "least", "median", "most"), scoreboard.absolutes(repeats)),
    ]
    if told["failures"]:
        parts.append("Failed:\n\n" + "".join(f"- {each}\n" for each in told["failures"]))
    return "\n".join(parts)


def versions() -> dict[str, str]:
    """What was measured, and the packages that all share."""
    own = {name: each.version for name, each in CONTESTANTS.items() if name != "ours"}
    return {**own, **{name: _version(name) for name in SHARED}}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "absent"


if __name__ == "__main__":
    main()
