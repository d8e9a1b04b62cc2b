"""`python -m benchmarks.contest`: compare this service with other model servers, in several repeats.

Each repeat starts each contestant again, compares its answers with those of the first, and measures it in the same
closed loop. The reported ratios are within a repeat, so that changes of the machine's speed cancel out. A contestant
that does not start, ends or gives other answers is reported, and the others continue.
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

from benchmarks.contest.answers import SCORES, Answer
from benchmarks.contest.contestants import CONTESTANTS, Contestant
from benchmarks.contest.runner import Contest, ContestError, checked_answers, started
from service.measure import machine
from service.measure.load.trial import Load, Trial
from service.measure.tables import table

HEAD = ("SERVER", "IMAGES/S", "LEAST", "MEDIAN", "MOST", "ERRORS")

Repeat = dict[str, Trial]


def ratios(repeats: Sequence[Repeat], reference: str) -> list[tuple[str, ...]]:
    """Return a row for each contestant: median throughput; least, median and most of the reference's ratio to it."""
    rows = []
    for name in dict.fromkeys(name for each in repeats for name in each):
        both = [(each[reference], each[name]) for each in repeats if reference in each and name in each]
        own = [each[name].summary.images_per_s for each in repeats if name in each]
        over = [ours.summary.images_per_s / theirs.summary.images_per_s for ours, theirs in both]
        spread = (min(over), statistics.median(over), max(over)) if over else ()
        errors = sum(each[name].summary.errors for each in repeats if name in each)
        cells = [f"{each:.2f}" for each in spread] or ["-"] * 3
        rows.append((name, f"{statistics.median(own):.1f}", *cells, str(errors)))
    return rows


def markdown(rows: Sequence[Sequence[str]], reference: str) -> str:
    """Return the rows as a table for docs/benchmarks.md."""
    head = ("server", "images/s (median)", f"{reference} / server: least", "median", "most", "errors")
    lines = [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]
    return "\n".join(lines) + "\n"


def versions(contestant: Contestant) -> dict[str, str]:
    """Return the versions of the packages in the contestant's environment, by name."""
    pip = [str(contestant.python), "-m", "pip", "--disable-pip-version-check", "freeze"]
    lines = subprocess.run(pip, check=True, capture_output=True, text=True).stdout.split()  # noqa: S603
    return dict(line.split("==", 1) for line in lines if "==" in line)


def run_repeat(chosen: Sequence[Contestant], contest: Contest, load: Load | None, failures: dict[str, str]) -> Repeat:
    """Check each contestant, and measure it under `load`, if given. Add those that fail to `failures`."""
    found: Repeat = {}
    expected: list[Answer] | None = None
    for contestant in chosen:
        try:
            with started(contestant, contest) as entry:
                given = checked_answers(entry, expected, contest.kind, chosen[0].name)
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
@click.option("--check", is_flag=True, help="Start each contestant and compare the answers, without measuring.")
@click.option("--into", type=click.Path(path_type=Path), default="benchmarks/results", show_default=True)
def main(
    names: tuple[str, ...], size: str, concurrency: int, repeats: int, into: Path, *, check: bool, **given: Any
) -> None:
    """Compare the contestants NAMES, or all, on the same images. Exit with 1 if one of them fails."""
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))  # to stop the started processes
    chosen = [CONTESTANTS[name] for name in names or CONTESTANTS]
    for contestant in chosen:
        contestant.install()
    width, _, height = size.partition("x")
    contest = Contest(**given, size=(int(width), int(height)))
    load = None if check else Load("closed", concurrency)
    failures: dict[str, str] = {}
    found = [run_repeat(chosen, contest, load, failures) for _ in range(1 if check else repeats)]
    if load and any(found):
        rows = ratios(found, chosen[0].name)
        click.echo(table(HEAD, rows))
        into.mkdir(parents=True, exist_ok=True)
        stem = f"{contest.kind}-{contest.model}-{size}-{concurrency}"
        document = {
            "host": machine.describe(),
            "contest": {name: str(value) for name, value in asdict(contest).items()},
            "versions": {each.name: versions(each) for each in chosen},
            "failures": failures,
            "repeats": [{name: asdict(trial) for name, trial in each.items()} for each in found],
        }
        (into / f"{stem}.json").write_text(json.dumps(document, indent=1), encoding="utf-8")
        (into / f"{stem}.md").write_text(markdown(rows, chosen[0].name), encoding="utf-8")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
