"""Measure the service in an open loop with more requests than it can answer."""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean
from typing import NamedTuple, TypeVar

from benchmarks.contest.runner import Entry
from benchmarks.stress.deadlines import workers_stopped
from service.measure.load import generator, http_connection
from service.measure.load.arrivals import poisson
from service.measure.load.generator import LOST, OK, TIMED_OUT, UNREACHED, Client, Sample
from service.measure.load.summary import Window, figures
from service.measure.load.trial import Load, Plan

CALLERS = Load("closed", 16)
OUTAGE_S = (1.0, 3.0)  # the part of the warm-up of five seconds in which the workers are stopped


class Flood(NamedTuple):
    """A load of `factor` times the closed-loop throughput, with a deadline, optionally right after an outage."""

    factor: int
    deadline_s: int
    outage: bool = False

    def __str__(self) -> str:
        return f"{self.factor} x, {self.deadline_s} s{', after an outage' if self.outage else ''}"


# With the deadline of the cards, and with one that fewer requests can meet than the service admits.
FLOODS = (Flood(2, 10), Flood(5, 10), Flood(2, 1), Flood(5, 1), Flood(5, 1, outage=True))
REJECTED = ("503 overloaded", "429 ")
Found = TypeVar("Found")
UNANSWERED = {LOST, TIMED_OUT, UNREACHED}


@dataclass(frozen=True)
class Peak:
    """The closed-loop throughput in requests per second, and the share of all cores that the generator took."""

    rate: float
    generator: float


def measure(entry: Entry, seconds: float) -> dict[str, float]:
    """Compare each load with the mean of the peaks right before and after it.

    Within minutes, the machine's own speed changes by more than a load may lose.
    """
    entry.measure(CALLERS)  # warm-up: networks are still compiled for the batch sizes
    peaks = [peak(entry)]
    found: dict[str, float] = {}
    for flood in FLOODS:
        plan = replace(entry.plan, requests=with_deadline(entry, flood.deadline_s), seconds=seconds)
        loop = send_open_loop(plan, flood.factor * peaks[-1].rate, outage=flood.outage)
        (samples, window), share = _with_cpu_share(partial(generator.run, loop))
        peaks.append(peak(entry))
        mean = Peak(fmean(each.rate for each in peaks[-2:]), fmean(each.generator for each in peaks[-2:]))
        for name, value in figures_of(samples, window, mean, share, flood.deadline_s).items():
            found[f"{flood}: {name}"] = value
    rates = [each.rate for each in peaks]
    return {"least peak, requests a second": min(rates), "greatest peak, requests a second": max(rates), **found}


def peak(entry: Entry) -> Peak:
    """Measure the closed-loop throughput."""
    found, share = _with_cpu_share(partial(entry.measure, CALLERS))
    return Peak(found.summary.requests_per_s, share)


def _with_cpu_share(measured: Callable[[], Found]) -> tuple[Found, float]:
    """Return the result, and the share of all cores that this process took meanwhile."""
    begun, used = time.perf_counter(), time.process_time()
    found = measured()
    return found, (time.process_time() - used) / (time.perf_counter() - begun) / (os.cpu_count() or 1)


def with_deadline(entry: Entry, deadline_s: float) -> list[http_connection.Request]:
    """Return the requests of the contest, each with a deadline."""
    headers = {"Request-Timeout": f"{deadline_s:g}"}
    return [http_connection.post(entry.url, each.content, each.media_type, headers) for each in entry.contest.uploads]


async def send_open_loop(plan: Plan, rate: float, *, outage: bool = False) -> tuple[list[Sample], Window]:
    """Run an open loop, optionally with an outage in its warm-up. Return its samples and the window after that."""
    client = Client(plan.address, plan.connections, plan.timeout_s)
    start = time.perf_counter() + plan.warm_up_s
    window = Window(start, start + plan.seconds)
    outage_task = asyncio.create_task(_outage(plan.pid)) if outage else None
    try:
        await generator.open_loop(client, plan.requests, poisson(rate), window.end)
    finally:
        client.close()
        if outage_task is not None:
            await outage_task
    return client.samples, window


async def _outage(root: int | None) -> None:
    begins_s, ends_s = OUTAGE_S
    await asyncio.sleep(begins_s)
    with workers_stopped(root):
        await asyncio.sleep(ends_s - begins_s)


def figures_of(
    every: Sequence[Sample], window: Window, mean: Peak, generator_share: float, deadline_s: float
) -> dict[str, float]:
    """Return the goodput of the window, and the outcomes of the requests that were due in it.

    A request that was admitted and not answered in time counts as accepted, with the time that it took.
    """
    answered = [each for each in every if each.outcome == OK and each.latency_s <= deadline_s]
    samples = [each for each in every if each.scheduled >= window.start]
    good = [each for each in answered if each.scheduled >= window.start]
    rejected = [each for each in samples if each.outcome.startswith(REJECTED)]
    accepted = [each for each in samples if not each.outcome.startswith(REJECTED) and each.outcome not in UNANSWERED]
    outcomes = Counter(each.outcome for each in samples)
    done = sum(window.start <= each.ended < window.end for each in answered)
    goodput = done / (window.end - window.start) / mean.rate
    left = (1 - mean.generator) / (1 - generator_share)
    return {
        "goodput / peak": goodput,
        "goodput / peak, of the cores that the generator left": goodput * left,
        "generator, of all cores": generator_share,
        **dict(_p99("accepted", [each.latency_s for each in accepted])),
        **dict(_p99("rejection", [each.ended - each.sent for each in rejected])),
        **dict(_p99("sent late", [each.sent - each.scheduled for each in samples])),
        "accepted and late": 1 - len(good) / max(1, len(accepted)),
        "without an answer": float(sum(outcomes[each] for each in UNANSWERED)),
        **{f"answered {outcome}": float(count) for outcome, count in outcomes.items()},
    }


def _p99(name: str, seconds: Sequence[float]) -> Iterator[tuple[str, float]]:
    value = figures([each * 1e3 for each in seconds])["p99"]
    if value is not None:
        yield f"{name} p99, ms", value
