"""A contestant's life: started, asked until it answers, held against the others' answers, put under load, ended."""

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
from benchmarks.contest.answers import Said
from benchmarks.contest.contestants import Contestant
from service.host.processes import free_port
from service.measure.load import corpus
from service.measure.load.corpus import Size, Upload
from service.measure.load.generator import Client, run
from service.measure.load.http_connection import Address, Request
from service.measure.load.trial import Load, Plan, RefusedError, Trial, probe, trial
from service.models import cards
from service.models.cards import ModelCard

START_S = 180.0
STOP_S = 20.0
LAST_LINES = 3


class ContestError(RuntimeError):
    """A contestant that does not take part: it did not start, died, or answers otherwise. One sentence."""


@dataclass(frozen=True)
class Contest:
    """What all of its contestants are given: the kind of model, its card, the pictures, how long each load takes."""

    kind: str
    store: Path
    model: str
    size: Size = (335, 500)
    seconds: float = 10.0
    warm_up_s: float = 5.0
    timeout_s: float = 60.0

    @property
    def card(self) -> ModelCard:
        """The model's card."""
        return cards.read(self.store / self.model)

    @property
    def pictures(self) -> list[Upload]:
        """The uploads, made, the same in every run."""
        return corpus.make([self.size])

    @property
    def environment(self) -> dict[str, str]:
        """What a server is told, besides its port. All have the same threads, which sleep where they wait."""
        return {
            "BENCH_KIND": self.kind,
            "BENCH_STORE": str(self.store.resolve()),
            "BENCH_MODEL": self.model,
            "OMP_NUM_THREADS": str(os.cpu_count()),
            "OMP_WAIT_POLICY": "PASSIVE",
        }


@dataclass(frozen=True)
class Entry:
    """A contestant that runs and has answered every picture, and after how many seconds it did the first."""

    name: str
    contest: Contest
    plan: Plan
    url: str
    first_answer_s: float

    def said(self) -> list[Said]:
        """Its answers, one picture after another."""
        return run(_said(self.plan))

    def measure(self, load: Load, requests: Sequence[Request] = (), longer: float = 1) -> Trial:
        """The load, put on it, of `requests` where there are some. Raises `ContestError` where no answer was good."""
        plan = replace(self.plan, requests=requests or self.plan.requests, seconds=self.plan.seconds * longer)
        found = run(trial(plan, load))
        if not found.summary.requests_per_s:
            raise ContestError(f"{self.name} answered nothing at {load}: {found.summary.outcomes}")
        return found


@contextmanager
def started(contestant: Contestant, contest: Contest, more: Mapping[str, str] | None = None) -> Iterator[Entry]:
    """A running contestant; everything it started is ended. Raises `ContestError` where it does not answer."""
    with tempfile.TemporaryDirectory(prefix="contest-", ignore_cleanup_errors=True) as folder:
        told = {**contest.environment, **(more or {}), "TMPDIR": folder}
        yield from _life(contestant, contest, told)


def _life(contestant: Contestant, contest: Contest, environment: Mapping[str, str]) -> Iterator[Entry]:
    port = free_port()
    log = Path(tempfile.gettempdir()) / f"contest-{contestant.name}.log"
    begun = time.monotonic()
    process = contestant.start({**environment, "PORT": str(port)}, log)
    try:
        requests = contestant.requests(port, contest.pictures, contest.card.task)
        plan = Plan(
            Address("127.0.0.1", port), requests, contest.seconds, contest.warm_up_s, contest.timeout_s, pid=process.pid
        )
        took = _await_answers(replace(plan, requests=requests[:1]), process, begun, contestant.name, log)
        try:
            run(probe(plan))
        except RefusedError as error:
            raise ContestError(f"{contestant.name}: {error}") from error
        yield Entry(contestant.name, contest, plan, contestant.url(port, contest.card.task), took)
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask it to end; end by force what is left of it and of all it ever started, in whatever session."""
    family = _family(process.pid)
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for member in family:
        with suppress(psutil.NoSuchProcess):
            member.kill()
    process.wait()


def compared(entry: Entry, expected: Sequence[Said] | None, kind: str, reference: str) -> list[Said]:
    """Its answers. Raises `ContestError` where they are not those `expected` of `reference`."""
    given = entry.said()
    wrong = answers.differ(expected, given, kind) if expected else None
    if wrong:
        raise ContestError(f"{entry.name} does not answer as {reference} does: {wrong}")
    return given


def _family(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _await_answers(plan: Plan, process: subprocess.Popen[bytes], begun: float, name: str, log: Path) -> float:
    """Ask until there is an answer; the seconds since it was started."""
    while True:
        try:
            run(probe(plan))
            return time.monotonic() - begun
        except RefusedError as error:
            dislikes = re.search(r"image: 4(?!04|08|29)\d\d", str(error))  # it runs, and not what is sent
            if dislikes or process.poll() is not None or time.monotonic() > begun + START_S:
                raise ContestError(f"{name} does not start: {error}; {_last_lines(log)}") from error
        time.sleep(0.2)


def _last_lines(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return f"{log}: {' | '.join(line.strip() for line in lines[-LAST_LINES:])}"


async def _said(plan: Plan) -> list[Said]:
    client = Client(plan.address, 1, plan.timeout_s)
    replies = [await client.send(request) for request in plan.requests]
    client.close()
    return [answers.read(json.loads(reply.body)) for reply in replies if reply is not None]
