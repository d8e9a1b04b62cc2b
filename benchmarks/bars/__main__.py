"""`python -m benchmarks.bars`: measure all performance targets in interleaved repeats.

A repeat runs all stages, each with a new server. Every other repeat runs them backwards, so that changes of the
machine's speed favour no server. A stage that fails is reported, and the others continue. JSON and Markdown files are
written after every repeat.
"""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import click

from benchmarks import made_models, results, scoreboard
from benchmarks.bars import rounds
from benchmarks.bars.old_tree import OldTree
from benchmarks.bars.rounds import Schedule
from benchmarks.contest.answers import Answer
from benchmarks.contest.contestants import CONTESTANTS
from benchmarks.contest.runner import ContestError
from service.measure.load import mix
from service.measure.tables import table
from service.tasks.segmentation.segment import SEGMENT

SHARED = ("torch", "openvino", "numpy", "pillow")

QUICK = Schedule(
    repeats=3, seconds=4.0, warm_up_s=1.5, lone=150, caller_counts=(16, 64), segment_repeats=1, shares=(0.5, 0.8)
)
FULL = Schedule(
    repeats=5,
    seconds=10.0,
    warm_up_s=4.0,
    lone=400,
    caller_counts=scoreboard.CALLER_COUNTS,
    segment_repeats=5,
    shares=(0.2, 0.4, 0.6, 0.8, 0.9),
)


@dataclass
class Found:
    """The results so far: the figures of each repeat, this service's answers, and the failures."""

    repeats: list[dict[str, float]] = field(default_factory=list)
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)


@click.command()
@click.option("--store", type=click.Path(path_type=Path), default="benchmarks/store", show_default=True)
@click.option("--quick", is_flag=True, help="Three short repeats: about 12 minutes on two idle cores instead of 45.")
@click.option("--repeats", type=click.IntRange(1), help="Number of repeats, instead of the default.")
@click.option("--seconds", type=click.FloatRange(0.5), help="Seconds of each load, instead of the default.")
@click.option("--only", metavar="STAGE[,STAGE...]", help=f"Stages to run: {', '.join(rounds.STAGES)}.")
@click.option(
    "--against", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Older tree to take turns with."
)
@click.option(
    "--photos",
    type=click.Path(path_type=Path),
    default="../shared/data/starter-photos/images",
    show_default=True,
    help="Folder of photos that the mix shows. If it does not exist, all images are generated.",
)
@click.option("--into", type=click.Path(path_type=Path), default="benchmarks/results", show_default=True)
def main(
    store: Path, only: str | None, against: Path | None, photos: Path, into: Path, *, quick: bool, **given: Any
) -> None:
    """Measure this service and its peers against the targets. Exit with 1 if something could not be measured."""
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))  # to stop the started processes
    schedule = (QUICK if quick else FULL).changed(**given)
    stages = chosen(only, against)
    old = old_tree_of(against)
    made_models.make(store)
    found = Found()
    install(found, [name for name, _ in stages])
    images = mix.make(mix.read_photos(photos) if photos.is_dir() else ())
    begun = time.monotonic()
    for index in range(schedule.repeats):
        measures: dict[str, float] = {}
        found.repeats.append(measures)
        for name, stage in stages if index % 2 == 0 else reversed(stages):
            elapsed_s = time.monotonic() - begun
            click.echo(f"{elapsed_s:5.0f} s, repeat {index + 1} of {schedule.repeats}: {name}", err=True)
            attempt(stage, rounds.Round(store, schedule, index, measures, found.answers, images, old), found)
        write(into, found, schedule)
    rows = scoreboard.rows(found.repeats, scoreboard.bars(amx=results.has_amx()))
    click.echo(table(scoreboard.HEAD, [row for row in rows if not only or row[-1] != scoreboard.NOT_MEASURED]))
    click.echo("\n".join(("", *(f"FAILED: {each}" for each in found.failures))))
    sys.exit(1 if found.failures else 0)


def chosen(only: str | None, against: Path | None = None) -> list[tuple[str, rounds.Stage]]:
    """Return the named stages, or all that are possible. Raises `click.BadParameter` for a name that is not."""
    known = {name: stage for name, stage in rounds.STAGES.items() if against or name not in rounds.OLD_STAGES}
    names = only.split(",") if only else list(known)
    unknown = set(names) - rounds.STAGES.keys()
    if unknown:
        raise click.BadParameter(f"there is no stage {', '.join(sorted(unknown))}")
    if set(names) - known.keys():
        raise click.BadParameter(f"{', '.join(sorted(set(names) - known.keys()))} needs --against")
    return [(name, stage) for name, stage in known.items() if name in names]


def old_tree_of(root: Path | None) -> OldTree | None:
    """Return the older tree with its models, or None without a folder. Raises `click.BadParameter`."""
    if root is None:
        return None
    tree = OldTree(root.resolve())
    try:
        tree.check()
    except ContestError as error:
        raise click.BadParameter(str(error)) from None
    return tree


def install(found: Found, stages: Sequence[str]) -> None:
    """Install the peers of these stages in their environments, and record those that cannot be as failures."""
    for contestant in CONTESTANTS.values():
        try:
            if any(contestant.name in each for each in stages) or SEGMENT.name in stages:
                contestant.install()
        except (OSError, subprocess.CalledProcessError) as error:
            found.failures.append(f"{contestant.name} cannot be installed: {error}")


def attempt(stage: Callable[[rounds.Round], None], current: rounds.Round, found: Found) -> None:
    """Run a stage, and record its failure."""
    try:
        stage(current)
    except (ContestError, OSError) as error:
        found.failures.append(f"repeat {current.index + 1}: {error}")
        click.echo(f"FAILED: {error}", err=True)


def write(into: Path, found: Found, schedule: Schedule) -> None:
    """Write the result files with the results so far."""
    document = {
        **results.head("bars"),
        "schedule": str(schedule),
        "versions": versions(),
        "failures": found.failures,
        "repeats": found.repeats,
    }
    results.write(into, "bars", document, markdown(document))


def markdown(document: dict[str, Any]) -> str:
    """Return the results as Markdown: host and command, the targets, the figures, and the failures."""
    host, repeats = document["host"], document["repeats"]
    parts = [
        f"`{document['command']}`, {document['measured_at']}, {host['cores']} cores of {host['processor']} "
        f"{'with' if host['amx'] else 'without'} AMX, "
        f"{host['system']}, Python {host['python']}; {document['schedule']}.\n",
        ", ".join(f"{name} {version}" for name, version in document["versions"].items()) + ".\n",
        scoreboard.markdown(scoreboard.HEAD, scoreboard.rows(repeats, scoreboard.bars(amx=host["amx"]))),
        scoreboard.markdown(("figure", "least", "median", "most"), scoreboard.absolutes(repeats)),
    ]
    if document["failures"]:
        parts.append("Failed:\n\n" + "".join(f"- {each}\n" for each in document["failures"]))
    return "\n".join(parts)


def versions() -> dict[str, str]:
    """Return the versions of the peers, and of the packages that all share."""
    own = {name: each.version for name, each in CONTESTANTS.items() if name != "ours"}
    return {**own, **{name: _version(name) for name in SHARED}}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "absent"


if __name__ == "__main__":
    main()
