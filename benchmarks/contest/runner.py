"""Start a contestant, wait until it answers, compare its answers with the others', measure it under load, stop it."""

import json
import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from benchmarks.contest import answers
from benchmarks.contest.answers import Answer
from benchmarks.contest.contestants import Contestant
from service.host.processes import free_port
from service.measure.load import corpus
from service.measure.load.corpus import CorpusImage, Size
from service.measure.load.generator import Client, run
from service.measure.load.http_connection import Address, Request
from service.measure.load.trial import Load, Plan, ProbeFailedError, Trial, probe, trial
from service.models import cards
from service.models.cards import ModelCard

START_S = 180.0
STOP_S = 20.0
LAST_LINES = 3


class ContestError(RuntimeError):
    """A contestant did not start, ended, or gave other answers. The message is one sentence."""


@dataclass(frozen=True)
class Contest:
    """What all contestants get: the kind of model, its card, the size of the images, and the duration of each load."""

    kind: str
    store: Path
    model: str
    size: Size = (335, 500)
    seconds: float = 10.0
    warm_up_s: float = 5.0
    timeout_s: float = 60.0

    @property
    def card(self) -> ModelCard:
        """The card of the model."""
        return cards.read(self.store / self.model)

    @property
    def uploads(self) -> list[CorpusImage]:
        """The generated images, the same in every run."""
        return corpus.make([self.size])

    @property
    def environment(self) -> dict[str, str]:
        """The variables of a server, except its port. All have the same number of threads, which wait passively."""
        return {
            "BENCH_KIND": self.kind,
            "BENCH_STORE": str(self.store.resolve()),
            "BENCH_MODEL": self.model,
            "OMP_NUM_THREADS": str(os.cpu_count()),
            "OMP_WAIT_POLICY": "PASSIVE",
        }


@dataclass(frozen=True)
class Entry:
    """A running contestant that has answered every image, and the seconds from its start to its first answer."""

    name: str
    contest: Contest
    plan: Plan
    url: str
    first_answer_s: float

    def answers(self) -> list[Answer]:
        """Send the images one after another and return the answers."""
        return run(_answers(self.plan))

    def measure(self, load: Load, requests: Sequence[Request] = (), longer: float = 1) -> Trial:
        """Measure a load of `requests`, or of the plan's. Raises `ContestError` if no answer is successful."""
        plan = replace(self.plan, requests=requests or self.plan.requests, seconds=self.plan.seconds * longer)
        found = run(trial(plan, load))
        if not found.summary.requests_per_s:
            raise ContestError(f"{self.name} answered nothing at {load}: {found.summary.outcomes}")
        return found


@contextmanager
def started(contestant: Contestant, contest: Contest, more: Mapping[str, str] | None = None) -> Iterator[Entry]:
    """Start a contestant, yield it, then end all its processes. Raises `ContestError` if it does not answer."""
    with tempfile.TemporaryDirectory(prefix="contest-", ignore_cleanup_errors=True) as folder:
        environment = {**contest.environment, **(more or {}), "TMPDIR": folder}
        yield from _run(contestant, contest, environment)


def _run(contestant: Contestant, contest: Contest, environment: Mapping[str, str]) -> Iterator[Entry]:
    port = free_port()
    log = Path(tempfile.gettempdir()) / f"contest-{contestant.name}.log"
    begun = time.monotonic()
    process = contestant.start({**environment, "PORT": str(port)}, log)
    try:
        requests = contestant.requests(port, contest.uploads, contest.card.task)
        plan = Plan(
            Address("127.0.0.1", port), requests, contest.seconds, contest.warm_up_s, contest.timeout_s, pid=process.pid
        )
        took = _await_answers(replace(plan, requests=requests[:1]), process, begun, contestant.name, log)
        try:
            run(probe(plan))
        except ProbeFailedError as error:
            raise ContestError(f"{contestant.name}: {error}") from error
        yield Entry(contestant.name, contest, plan, contestant.url(port, contest.card.task), took)
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Terminate a process, then kill it and all its descendants that remain, in any session."""
    descendants = _descendants(process.pid)
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for each in descendants:
        with suppress(psutil.NoSuchProcess):
            each.kill()
    process.wait()


def checked_answers(entry: Entry, expected: Sequence[Answer] | None, kind: str, reference: str) -> list[Answer]:
    """Return the answers. Raises `ContestError` if they differ from those `expected`, which `reference` gave."""
    given = entry.answers()
    difference = answers.difference(expected, given, kind) if expected else None
    if difference:
        raise ContestError(f"{entry.name} does not answer as {reference} does: {difference}")
    return given


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _await_answers(plan: Plan, process: subprocess.Popen[bytes], begun: float, name: str, log: Path) -> float:
    """Send requests until one is answered, and return the seconds since the start."""
    while True:
        try:
            run(probe(plan))
            return time.monotonic() - begun
        except ProbeFailedError as error:
            rejects = re.search(r"image: 4(?!04|08|29)\d\d", str(error))  # it runs, but rejects the request
            if rejects or process.poll() is not None or time.monotonic() > begun + START_S:
                raise ContestError(f"{name} does not start: {error}; {_last_lines(log)}") from error
        time.sleep(0.2)


def _last_lines(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return f"{log}: {' | '.join(line.strip() for line in lines[-LAST_LINES:])}"


async def _answers(plan: Plan) -> list[Answer]:
    client = Client(plan.address, 1, plan.timeout_s)
    replies = [await client.send(request) for request in plan.requests]
    client.close()
    return [answers.parse(json.loads(reply.body)) for reply in replies if reply is not None]
