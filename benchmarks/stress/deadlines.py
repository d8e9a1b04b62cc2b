"""Requests that are given a time, and cannot be answered in it: how exactly the answer comes that says so."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import psutil

from benchmarks.contest.runner import ContestError, Entry
from benchmarks.costs.amplification import Worst
from service.measure.load import http_connection
from service.measure.load.generator import Client, Sample, run
from service.measure.load.http_connection import Request

STAGES = ("upload", "decoding", "model")
TIMEOUTS_S = (0.2, 0.5, 1, 2)
AT_ONCE = 8
WORKER = "model_service_worker"
LATE: Final = {"504 deadline_exceeded", "408 upload_timeout"}
NOT_LATE: Final = {"ok", "503 overloaded"}  # refused at once, since it would be late
PIXELS = 16_000_000
SLOW = Worst("PNG", "RGBA", {})  # which is unpacked in whole, whatever the network needs of it


def measure(entry: Entry, _seconds: float) -> dict[str, float]:
    """How many milliseconds answers were off their deadlines at the most, by where the time went."""
    (picture, *_) = entry.contest.pictures
    large = SLOW.body(PIXELS)
    with stopped(entry.plan.pid):
        model = worst_ms(entry, picture.content)
    found = (worst_ms(entry, picture.content, sent=0.5), worst_ms(entry, large, repeats=4), model)
    return {f"off its deadline in {stage}, ms": value for stage, value in zip(STAGES, found, strict=True)}


@contextmanager
def stopped(root: int | None) -> Iterator[None]:
    """While no worker of the service moves. Raises `ContestError` where it has none."""
    workers = [each for each in psutil.Process(root).children(recursive=True) if _is_worker(each)]
    if not workers:
        raise ContestError("no worker runs")
    try:
        _tell(workers, signal.SIGSTOP)
        yield
    finally:
        _tell(workers, signal.SIGCONT)


def _is_worker(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return WORKER in " ".join(process.cmdline())
    return False


def _tell(processes: list[psutil.Process], number: int) -> None:
    for each in processes:
        with suppress(psutil.NoSuchProcess):
            each.send_signal(number)


def worst_ms(entry: Entry, body: bytes, *, sent: float = 1.0, repeats: int = 1) -> float:
    """Of several requests at once with each of the deadlines, of which only a share is sent.

    Raises `ContestError` where some are answered otherwise, or none is late.
    """
    worst = []
    for timeout_s in TIMEOUTS_S:
        request = http_connection.post(entry.url, body, "image/*", {"Request-Timeout": f"{timeout_s:g}"})
        cut = Request(request.wire[: len(request.wire) - round(len(body) * (1 - sent))])
        samples = run(_at_once(entry, [cut] * AT_ONCE * repeats))
        other = {each.outcome for each in samples} - LATE - NOT_LATE
        if other:
            raise ContestError(f"a request of {timeout_s:g} s was answered {', '.join(sorted(other))}")
        worst += [abs(each.ended - each.sent - timeout_s) * 1e3 for each in samples if each.outcome in LATE]
    if not worst:
        raise ContestError("no request was late")
    return max(worst)


async def _at_once(entry: Entry, requests: list[Request]) -> list[Sample]:
    client = Client(entry.plan.address, len(requests), entry.plan.timeout_s)
    try:
        await asyncio.gather(*(client.send(each) for each in requests))
    finally:
        client.close()
    return client.samples
