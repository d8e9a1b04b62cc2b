"""`python -m benchmarks.contest`: contestants side by side, started in turn, again and again.

Every repeat starts each of them anew, checks that its answers are those of the first, and puts the same closed loop on
it. What is told are the ratios within a repeat, so that what the machine does meanwhile falls out. A contestant that
does not start, dies or answers otherwise is named, and the others go on.
"""

import json
import signal
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from benchmarks.contest.answers import SCORES, Said
from benchmarks.contest.contestants import CONTESTANTS, Contestant
from benchmarks.contest.runner import Contest, ContestError, compared, started
from service.measure.load import report
from service.measure.load.trial import Load, Trial
from service.measure.tables import table

HEAD = ("SERVER", "PICTURES/S", "LEAST", "MEDIAN", "MOST", "ERRORS")

Repeat = dict[str, Trial]


def ratios(repeats: Sequence[Repeat], reference: str) -> list[tuple[str, ...]]:
    """A row a contestant: throughput, and the reference's over it in each repeat: least, median and most."""
    rows = []
    for name in dict.fromkeys(name for each in repeats for name in each):
        both = [(each[reference], each[name]) for each in repeats if reference in each and name in each]
        own = [each[name].summary.pictures_per_s for each in repeats if name in each]
        over = [ours.summary.pictures_per_s / theirs.summary.pictures_per_s for ours, theirs in both]
        told = (min(over), statistics.median(over), max(over)) if over else ()
        errors = sum(each[name].summary.errors for each in repeats if name in each)
        shown = [f"{each:.2f}" for each in told] or ["-"] * 3
        rows.append((name, f"{statistics.median(own):.1f}", *shown, str(errors)))
    return rows


def markdown(rows: Sequence[Sequence[str]], reference: str) -> str:
    """The rows as a table for docs/benchmarks.md."""
    head = ("server", "pictures/s (median)", f"{reference} over it: least", "median", "most", "errors")
    lines = [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]
    return "\n".join(lines) + "\n"


def versions(contestant: Contestant) -> dict[str, str]:
    """What its environment holds, by name."""
    pip = [str(contestant.python), "-m", "pip", "--disable-pip-version-check", "freeze"]
    lines = subprocess.run(pip, check=True, capture_output=True, text=True).stdout.split()  # noqa: S603
    return dict(line.split("==", 1) for line in lines if "==" in line)


def repeated(chosen: Sequence[Contestant], contest: Contest, load: Load | None, failures: dict[str, str]) -> Repeat:
    """Each in turn, under `load` where there is one; those that fail are in `failures` instead."""
    found: Repeat = {}
    expected: list[Said] | None = None
    for contestant in chosen:
        try:
            with started(contestant, contest) as entry:
                given = compared(entry, expected, contest.kind, chosen[0].name)
                expected = expected or given
                click.echo(f"{contestant.name}: the same answers, after {entry.first_answer_s:.1f} s", err=True)
                if load:
                    found[contestant.name] = entry.measure(load)
        except ContestError as error:
            failures[contestant.name] = str(error)
            click.echo(f"FAILED: {error}", err=True)
    return found


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(CONTESTANTS)))
@click.option("--kind", type=click.Choice(list(SCORES)), default="same", show_default=True)
@click.option("--store", type=click.Path(exists=True, path_type=Path), default="model_store", show_default=True)
@click.option("--model", default="starter-classifier", show_default=True)
@click.option("--size", default="335x500", show_default=True)
@click.option("--concurrency", default=16, show_default=True)
@click.option("--repeats", default=5, show_default=True)
@click.option("--duration", "seconds", default=10.0, show_default=True)
@click.option("--warm-up", "warm_up_s", default=5.0, show_default=True)
@click.option("--check", is_flag=True, help="Start each and compare the answers, without measuring.")
@click.option("--into", type=click.Path(path_type=Path), default="benchmarks/results", show_default=True)
def main(
    names: tuple[str, ...], size: str, concurrency: int, repeats: int, into: Path, *, check: bool, **given: Any
) -> None:
    """Let NAMES (all of them, if none is given) answer the same pictures. Exits with 1 where one could not."""
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))  # so that what was started is ended
    chosen = [CONTESTANTS[name] for name in names or CONTESTANTS]
    for contestant in chosen:
        contestant.install()
    width, _, height = size.partition("x")
    contest = Contest(**given, size=(int(width), int(height)))
    load = None if check else Load("closed", concurrency)
    failures: dict[str, str] = {}
    found = [repeated(chosen, contest, load, failures) for _ in range(1 if check else repeats)]
    if load and any(found):
        rows = ratios(found, chosen[0].name)
        click.echo(table(HEAD, rows))
        into.mkdir(parents=True, exist_ok=True)
        stem = f"{contest.kind}-{contest.model}-{size}-{concurrency}"
        told = {
            "host": report.host(),
            "contest": {name: str(value) for name, value in asdict(contest).items()},
            "versions": {each.name: versions(each) for each in chosen},
            "failures": failures,
            "repeats": [{name: asdict(trial) for name, trial in each.items()} for each in found],
        }
        (into / f"{stem}.json").write_text(json.dumps(told, indent=1), encoding="utf-8")
        (into / f"{stem}.md").write_text(markdown(rows, chosen[0].name), encoding="utf-8")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
