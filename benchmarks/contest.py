"""`python -m benchmarks.contest`: contestants side by side, started in turn, again and again.

Every repeat starts each of them anew, checks that its answers are those of the first, and puts the same closed loop on
it. What is told are the ratios within a repeat, so that what the machine does meanwhile falls out.
"""

import asyncio
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from benchmarks.contestants import CONTESTANTS, Contestant, scores
from service.bench import corpus, report
from service.bench.corpus import Picture
from service.bench.load import Client
from service.bench.trial import Load, Plan, RefusedError, Trial, probe, trial
from service.bench.wire import Address
from service.processes import free_port
from service.tables import table

START_S = 180.0
STOP_S = 60.0
TOLERANCE = {"same": 1e-3, "null": 1e-4, "usual": 3e-2}  # of scores, between engines of one and of two precisions


@contextmanager
def started(contestant: Contestant, environment: dict[str, str], pictures: Sequence[Picture]) -> Iterator[Plan]:
    """A running contestant, and the plan that asks it; everything it started is ended."""
    port = free_port()
    log = Path(tempfile.gettempdir()) / f"contest-{contestant.name}.log"
    process = contestant.start({**environment, "PORT": str(port)}, log)
    try:
        plan = Plan(Address("127.0.0.1", port), contestant.requests(port, pictures), pid=process.pid)
        _await_answers(plan, process, f"{contestant.name} does not start; see {log}")
        yield plan
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_S)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _await_answers(plan: Plan, process: subprocess.Popen[bytes], otherwise: str) -> None:
    deadline = time.monotonic() + START_S
    while True:
        try:
            asyncio.run(probe(plan))
            return
        except RefusedError as error:
            refused = re.search(r"picture: 4\d\d", str(error))  # it runs, and dislikes what is sent
            if refused or process.poll() is not None or time.monotonic() > deadline:
                raise click.ClickException(f"{otherwise}: {error}") from error
        time.sleep(0.2)


async def answers(plan: Plan) -> list[dict[int, float]]:
    """The scores that each picture gets, one after another."""
    client = Client(plan.address, 1, plan.timeout_s)
    replies = [await client.send(request) for request in plan.requests]
    client.close()
    return [scores(json.loads(reply.body)) for reply in replies if reply is not None]


def differ(first: Sequence[dict[int, float]], second: Sequence[dict[int, float]], tolerance: float) -> str | None:
    """Where two contestants' answers are not those of one model; None where they are."""
    for place, (ours, theirs) in enumerate(zip(first, second, strict=True)):
        both = ours.keys() & theirs.keys()
        worst = max((abs(ours[each] - theirs[each]) for each in both), default=1.0)
        if not both or worst > tolerance:
            return f"picture {place}: {ours} and {theirs}"
    return None


def ratios(repeats: Sequence[dict[str, Trial]], reference: str) -> list[tuple[str, ...]]:
    """A row a contestant: throughput, and the reference's over it in each repeat: least, median and most."""
    rows = []
    for name in repeats[0]:
        own = [each[name].summary.pictures_per_s for each in repeats]
        over = [each[reference].summary.pictures_per_s / each[name].summary.pictures_per_s for each in repeats]
        told = (min(over), statistics.median(over), max(over))
        errors = sum(each[name].summary.errors for each in repeats)
        rows.append((name, f"{statistics.median(own):.1f}", *(f"{each:.2f}" for each in told), str(errors)))
    return rows


HEAD = ("SERVER", "PICTURES/S", "LEAST", "MEDIAN", "MOST", "ERRORS")


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


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(CONTESTANTS)))
@click.option("--kind", type=click.Choice(list(TOLERANCE)), default="same", show_default=True)
@click.option("--store", type=click.Path(exists=True, path_type=Path), default="model_store", show_default=True)
@click.option("--model", default="starter-classifier", show_default=True)
@click.option("--size", default="335x500", show_default=True)
@click.option("--concurrency", default=16, show_default=True)
@click.option("--repeats", default=5, show_default=True)
@click.option("--duration", default=10.0, show_default=True)
@click.option("--warm-up", default=5.0, show_default=True)
@click.option("--check", is_flag=True, help="Start each and compare the answers, without measuring.")
@click.option("--into", type=click.Path(path_type=Path), default="benchmarks/results", show_default=True)
def main(names: tuple[str, ...], into: Path, **options: Any) -> None:
    """Let NAMES (all of them, if none is given) answer the same pictures."""
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))  # so that what was started is ended
    chosen = [CONTESTANTS[name] for name in names or CONTESTANTS]
    for contestant in chosen:
        contestant.install()
    width, _, height = options["size"].partition("x")
    pictures = corpus.make([(int(width), int(height))])
    repeats = [_repeat(chosen, pictures, options) for _ in range(1 if options["check"] else options["repeats"])]
    if options["check"]:
        return
    rows = ratios(repeats, chosen[0].name)
    click.echo(table(HEAD, rows))
    into.mkdir(parents=True, exist_ok=True)
    stem = into / f"{options['kind']}-{options['model']}-{options['size']}-{options['concurrency']}"
    told = {
        "host": report.host(),
        "options": {name: str(value) for name, value in options.items()},
        "versions": {each.name: versions(each) for each in chosen},
        "repeats": [{name: asdict(found) for name, found in each.items()} for each in repeats],
    }
    stem.with_suffix(".json").write_text(json.dumps(told, indent=1), encoding="utf-8")
    stem.with_suffix(".md").write_text(markdown(rows, chosen[0].name), encoding="utf-8")


def _repeat(chosen: Sequence[Contestant], pictures: Sequence[Picture], options: dict[str, Any]) -> dict[str, Trial]:
    environment = {
        "BENCH_KIND": options["kind"],
        "BENCH_STORE": str(options["store"].resolve()),
        "BENCH_MODEL": options["model"],
        "OMP_NUM_THREADS": str(os.cpu_count()),
        "OMP_WAIT_POLICY": "PASSIVE",
    }
    found: dict[str, Trial] = {}
    expected: list[dict[int, float]] | None = None
    for contestant in chosen:
        with started(contestant, environment, pictures) as plan:
            given = asyncio.run(answers(plan))
            expected = expected or given
            wrong = differ(expected, given, TOLERANCE[options["kind"]])
            if wrong:
                raise click.ClickException(f"{contestant.name} does not answer as {chosen[0].name} does: {wrong}")
            click.echo(f"{contestant.name}: the same answers", err=True)
            if not options["check"]:
                timed = Plan(plan.address, plan.requests, options["duration"], options["warm_up"], pid=plan.pid)
                found[contestant.name] = asyncio.run(trial(timed, Load("closed", options["concurrency"])))
    return found


if __name__ == "__main__":
    main()
