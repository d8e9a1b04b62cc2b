"""Measure the latency of a single caller, alone and while other callers flood the service."""

import asyncio
import multiprocessing
import random
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from itertools import cycle
from typing import Any, Final

from benchmarks import made_models
from benchmarks.contest.runner import ContestError, Entry
from service.measure.load import corpus, generator, http_connection
from service.measure.load.generator import OK, Client
from service.measure.load.http_connection import Address
from service.measure.load.summary import figures
from service.tasks.classification.classify import CLASSIFY
from service.tasks.segmentation.segment import SEGMENT
from tests import fuzzing

GOOD = "good requests"
FLOODED = 4  # connections of a flood of small requests
SEGMENT_CALLERS = 8
LARGE = (5472, 3648)
MIN_REQUESTS = 150  # of the single caller
MAX_FLOOD_S = 3600.0
SETTLE_S = 3.0  # from the start of a flood to the measurement
TIMEOUT_S = 60.0
VARIABLES: Final = {"BENCH_OTHER_MODELS": made_models.STARTERS[1]}  # the flood of segments needs a segmenter


def measure(entry: Entry, seconds: float) -> dict[str, float]:
    """Return the p50 and p99 of a single caller in milliseconds, alone and during each flood, and the ratios."""
    alone = generator.run(lone(entry, seconds))
    found = {"lone p50, ms": alone["p50"], "lone p99, ms": alone["p99"]}
    for name in FLOODS:
        with flood(name, entry):
            beside = generator.run(lone(entry, seconds * 2))  # longer, because there are fewer requests per second
        found[f"beside {name} p50, ms"] = beside["p50"]
        found[f"beside {name} p99, ms"] = beside["p99"]
        found[f"beside {name}, p99 / alone"] = beside["p99"] / alone["p99"]
        found[f"beside {name}, p99 / beside as many good"] = beside["p99"] / found[f"beside {GOOD} p99, ms"]
    return found


async def lone(entry: Entry, seconds: float) -> dict[str, float]:
    """Send requests one after another for `seconds`, at least `MIN_REQUESTS`, and return the latencies in milliseconds.

    Raises `ContestError` if a request fails.
    """
    client = Client(entry.plan.address, 1, entry.plan.timeout_s)
    requests = cycle(entry.plan.requests)
    end = time.perf_counter() + seconds
    try:
        while time.perf_counter() < end or len(client.samples) < MIN_REQUESTS:
            await client.send(next(requests))
    finally:
        client.close()
    bad = {each.outcome for each in client.samples} - {OK}
    if bad:
        raise ContestError(f"a single caller was answered {', '.join(sorted(bad))}")
    found = figures([each.latency_s * 1e3 for each in client.samples])
    return {share: value for share, value in found.items() if value is not None}


@contextmanager
def flood(name: str, entry: Entry) -> Iterator[None]:
    """Flood the service from another process."""
    contents = [each.content for each in entry.contest.uploads]
    context = multiprocessing.get_context("spawn")  # do not fork after an event loop has run here
    process = context.Process(target=_run, args=(name, entry.plan.address, contents), daemon=True)
    process.start()
    try:
        time.sleep(SETTLE_S)
        if not process.is_alive():
            raise ContestError(f"the flood of {name} has ended")
        yield
    finally:
        process.kill()
        process.join()


def _run(name: str, address: Address, contents: list[bytes]) -> None:
    generator.run(FLOODS[name](address, contents))


async def _good(address: Address, contents: list[bytes]) -> None:
    url = f"http://{address.host}:{address.port}{CLASSIFY.path}"
    requests = [http_connection.post(url, content, "image/jpeg", {}) for content in contents]
    await _closed(address, requests, FLOODED)


async def _segments(address: Address, _contents: list[bytes]) -> None:
    (image,) = corpus.make([LARGE], per_size=1)
    url = f"http://{address.host}:{address.port}{SEGMENT.path}"
    await _closed(address, [http_connection.post(url, image.content, image.media_type, {})], SEGMENT_CALLERS)


async def _closed(address: Address, requests: list[http_connection.Request], callers: int) -> None:
    client = Client(address, callers, TIMEOUT_S)
    await generator.closed_loop(client, requests, callers, time.perf_counter() + MAX_FLOOD_S)


async def _mutated(address: Address, contents: list[bytes]) -> None:
    await _fuzzed(address, lambda chance: fuzzing.encode_request(CLASSIFY.path, *_mutation(chance, contents)))


async def _corrupted(address: Address, contents: list[bytes]) -> None:
    def make(chance: random.Random) -> bytes:
        request = fuzzing.encode_request(CLASSIFY.path, *fuzzing.request_body(chance, chance.choice(contents)))
        return fuzzing.corrupt_request(chance, request)

    await _fuzzed(address, make)


def _mutation(chance: random.Random, contents: list[bytes]) -> tuple[bytes, fuzzing.Headers]:
    return fuzzing.request_body(chance, fuzzing.mutate_one(chance, contents))


async def _fuzzed(address: Address, make: Callable[[random.Random], bytes]) -> None:
    chance = random.Random(8)

    async def caller() -> None:
        while True:
            await fuzzing.exchange(address.port, make(chance), patience_s=1)

    await asyncio.gather(*(caller() for _ in range(FLOODED)))


FLOODS: Final[dict[str, Callable[[Address, list[bytes]], Coroutine[Any, Any, None]]]] = {
    GOOD: _good,
    "mutated bodies": _mutated,
    "corrupted requests": _corrupted,
    "20-megapixel segments": _segments,
}
# Maximum ratio of the p99 during each flood, to the p99 alone and to the p99 beside as many good requests.
BARS: Final = {"mutated bodies": (2, 2), "corrupted requests": (2, 2), "20-megapixel segments": (3, None)}
