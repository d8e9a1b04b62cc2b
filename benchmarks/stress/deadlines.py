"""Measure how close to its deadline a request that cannot meet it gets its error."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import psutil

from benchmarks.contest.runner import ContestError, Entry
from benchmarks.costs.amplification import FlatImage
from service.measure.load import http_connection
from service.measure.load.generator import Client, Sample, run
from service.measure.load.http_connection import Request

STAGES = ("upload", "decoding", "model")
TIMEOUTS_S = (0.2, 0.5, 1, 2)
AT_ONCE = 8
WORKER = "model_service_worker"
LATE: Final = {"504 deadline_exceeded", "408 upload_timeout"}
NOT_LATE: Final = {"ok", "503 overloaded"}  # 503: rejected at once, because it would miss its deadline
PIXELS = 16_000_000
SLOW = FlatImage("PNG", "RGBA", {})  # a PNG is always decoded at full size


def measure(entry: Entry, _seconds: float) -> dict[str, float]:
    """Return the maximum milliseconds between deadline and error, by the stage in which the time passed."""
    (image, *_) = entry.contest.uploads
    large = SLOW.body(PIXELS)
    with workers_stopped(entry.plan.pid):
        model = max_deviation_ms(entry, image.content)
    upload = max_deviation_ms(entry, image.content, sent=0.5)
    found = (upload, max_deviation_ms(entry, large, repeats=4), model)
    return {f"off its deadline in {stage}, ms": value for stage, value in zip(STAGES, found, strict=True)}


@contextmanager
def workers_stopped(root: int | None) -> Iterator[None]:
    """Stop all workers of the service with SIGSTOP, and continue them after. Raises `ContestError` if it has none."""
    workers = [each for each in psutil.Process(root).children(recursive=True) if _is_worker(each)]
    if not workers:
        raise ContestError("no worker runs")
    try:
        _signal(workers, signal.SIGSTOP)
        yield
    finally:
        _signal(workers, signal.SIGCONT)


def _is_worker(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return WORKER in " ".join(process.cmdline())
    return False


def _signal(processes: list[psutil.Process], number: int) -> None:
    for each in processes:
        with suppress(psutil.NoSuchProcess):
            each.send_signal(number)


def max_deviation_ms(entry: Entry, body: bytes, *, sent: float = 1.0, repeats: int = 1) -> float:
    """Send concurrent requests with each deadline, and return the maximum milliseconds from deadline to error.

    `sent` is the share of each body that is sent. Raises `ContestError` if a request gets another answer, or none is
    late.
    """
    deviations = []
    for timeout_s in TIMEOUTS_S:
        request = http_connection.post(entry.url, body, "image/*", {"Request-Timeout": f"{timeout_s:g}"})
        cut = Request(request.wire[: len(request.wire) - round(len(body) * (1 - sent))])
        samples = run(_at_once(entry, [cut] * AT_ONCE * repeats))
        other = {each.outcome for each in samples} - LATE - NOT_LATE
        if other:
            raise ContestError(f"a request of {timeout_s:g} s was answered {', '.join(sorted(other))}")
        deviations += [abs(each.ended - each.sent - timeout_s) * 1e3 for each in samples if each.outcome in LATE]
    if not deviations:
        raise ContestError("no request was late")
    return max(deviations)


async def _at_once(entry: Entry, requests: list[Request]) -> list[Sample]:
    client = Client(entry.plan.address, len(requests), entry.plan.timeout_s)
    try:
        await asyncio.gather(*(client.send(each) for each in requests))
    finally:
        client.close()
    return client.samples
