"""More requests than the service can answer, from callers who do not wait for each other."""

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
from benchmarks.stress.deadlines import stopped
from service.measure.load import generator as load
from service.measure.load import http_connection
from service.measure.load.arrivals import poisson
from service.measure.load.generator import LOST, OK, TIMED_OUT, UNREACHED, Client, Sample
from service.measure.load.summary import Window, figures
from service.measure.load.trial import Load, Plan

CALLERS = Load("closed", 16)
OUTAGE_S = (1.0, 3.0)  # of a warm-up of five seconds: no worker moves


class Flood(NamedTuple):
    """So many times what it answers to callers who wait, with a deadline; perhaps right after an outage."""

    factor: int
    deadline_s: int
    outage: bool = False

    def __str__(self) -> str:
        return f"{self.factor} x, {self.deadline_s} s{', after an outage' if self.outage else ''}"


# With the cards' own deadline, and with one that fewer requests can meet than there are places for.
FLOODS = (Flood(2, 10), Flood(5, 10), Flood(2, 1), Flood(5, 1), Flood(5, 1, outage=True))
REFUSED = ("503 overloaded", "429 ")
Found = TypeVar("Found")
BROKEN = {LOST, TIMED_OUT, UNREACHED}


@dataclass(frozen=True)
class Peak:
    """Requests answered a second to callers who wait, and the share of all cores that asking took."""

    rate: float
    generator: float


def measure(entry: Entry, seconds: float) -> dict[str, float]:
    """Each load held against the mean of the peaks right before and after it, and milliseconds.

    The machine's own speed moves by more within minutes than what a load may lose.
    """
    entry.measure(CALLERS)  # while networks are still compiled for sizes of batches
    peaks = [peak(entry)]
    found: dict[str, float] = {}
    for flood in FLOODS:
        plan = replace(entry.plan, requests=within(entry, flood.deadline_s), seconds=seconds)
        pushing = pushed(plan, flood.factor * peaks[-1].rate, outage=flood.outage)
        (samples, window), generator = _costing(partial(load.run, pushing))
        peaks.append(peak(entry))
        beside = Peak(fmean(each.rate for each in peaks[-2:]), fmean(each.generator for each in peaks[-2:]))
        for name, value in told(samples, window, beside, generator, flood.deadline_s).items():
            found[f"{flood}: {name}"] = value
    rates = [each.rate for each in peaks]
    return {"least peak, requests a second": min(rates), "greatest peak, requests a second": max(rates), **found}


def peak(entry: Entry) -> Peak:
    """What it answers to callers who wait."""
    found, generator = _costing(partial(entry.measure, CALLERS))
    return Peak(found.summary.requests_per_s, generator)


def _costing(measured: Callable[[], Found]) -> tuple[Found, float]:
    """What was found, and the share of all cores that this process took meanwhile."""
    begun, used = time.perf_counter(), time.process_time()
    found = measured()
    return found, (time.process_time() - used) / (time.perf_counter() - begun) / (os.cpu_count() or 1)


def within(entry: Entry, deadline_s: float) -> list[http_connection.Request]:
    """The requests of the contest, each with a deadline."""
    headers = {"Request-Timeout": f"{deadline_s:g}"}
    return [http_connection.post(entry.url, each.content, each.media_type, headers) for each in entry.contest.pictures]


async def pushed(plan: Plan, rate: float, *, outage: bool = False) -> tuple[list[Sample], Window]:
    """The requests of an open loop, and what comes after its warm-up, in which there may be an outage."""
    client = Client(plan.address, plan.connections, plan.timeout_s)
    start = time.perf_counter() + plan.warm_up_s
    window = Window(start, start + plan.seconds)
    failing = asyncio.create_task(_fail(plan.pid)) if outage else None
    try:
        await load.open_loop(client, plan.requests, poisson(rate), window.end)
    finally:
        client.close()
        if failing is not None:
            await failing
    return client.samples, window


async def _fail(root: int | None) -> None:
    begins_s, ends_s = OUTAGE_S
    await asyncio.sleep(begins_s)
    with stopped(root):
        await asyncio.sleep(ends_s - begins_s)


def told(
    every: Sequence[Sample], window: Window, beside: Peak, generator: float, deadline_s: float
) -> dict[str, float]:
    """What was answered in the window, and what became of those that were due in it.

    What was let in and not answered in time counts among the accepted, as long as it took.
    """
    answered = [each for each in every if each.outcome == OK and each.latency_s <= deadline_s]
    samples = [each for each in every if each.scheduled >= window.start]
    good = [each for each in answered if each.scheduled >= window.start]
    refused = [each for each in samples if each.outcome.startswith(REFUSED)]
    accepted = [each for each in samples if not each.outcome.startswith(REFUSED) and each.outcome not in BROKEN]
    outcomes = Counter(each.outcome for each in samples)
    done = sum(window.start <= each.ended < window.end for each in answered)
    goodput = done / (window.end - window.start) / beside.rate
    return {
        "goodput / peak": goodput,
        "goodput / peak, of the cores that the generator left": goodput * (1 - beside.generator) / (1 - generator),
        "generator, of all cores": generator,
        **dict(_p99("accepted", [each.latency_s for each in accepted])),
        **dict(_p99("refusal", [each.ended - each.sent for each in refused])),
        **dict(_p99("sent late", [each.sent - each.scheduled for each in samples])),
        "accepted and late": 1 - len(good) / max(1, len(accepted)),
        "without an answer": float(sum(outcomes[each] for each in BROKEN)),
        **{f"answered {outcome}": float(count) for outcome, count in outcomes.items()},
    }


def _p99(name: str, seconds: Sequence[float]) -> Iterator[tuple[str, float]]:
    value = figures([each * 1e3 for each in seconds])["p99"]
    if value is not None:
        yield f"{name} p99, ms", value
