"""`python -m benchmarks.costs.choices [WHAT...]`: what was chosen on a picture's way, beside what could have been.

    server   HTTP parser and event loop of the gateway: a body of 50 kB in, JSON out, 16 connections
    client   of the gateway to TorchServe: 150 kB in, an envelope out, over a Unix socket, 16 in flight
    json     encoder of the answers
    hop      Unix socket, TCP and gRPC to a real TorchServe around the null model, 16 in flight
    delay    TorchServe's waiting for company, with a model that sleeps as long as ResNeSt-50 takes: alone, 16 in flight

Ways are measured in turn, every other repeat backwards, and held against the chosen one within the repeat.
"""

import asyncio
import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import click
import httpx
import orjson
import uvloop

from service.gateway.backend.http_client import HttpClient
from service.host.processes import Child, free_port
from service.measure.tables import table
from service.tasks.classification.task import CLASSIFICATION

RESULTS = Path("benchmarks/results/choices.json")
UPLOAD, FRAME, ANSWER = bytes(50_000), bytes(150_528 + 200), b"x" * 4_300  # an answer of 1000 scores
IN_FLIGHT = 16
START_S = 180.0  # five workers that import torch for the first time, beside other work
DOCUMENT = {
    "request_id": "0" * 32,
    "model": {"name": "resnest50", "version": "1.0", "task": CLASSIFICATION.name},
    "results": [
        {
            "index": 0,
            "image": {"width": 335, "height": 500, "format": "JPEG", "mode": "RGB"},
            "predictions": [{"label": "a class", "class_id": each, "score": 0.123456} for each in range(5)],
            "warnings": [],
        }
    ],
    "timing_ms": {"total": 20.1, "decode": 3.2, "queue": 4.1, "inference": 12.3},
}

Send = Callable[[], Awaitable[object]]


@dataclass(frozen=True)
class Way:
    """One of the ways: what it is called, and what measures it in so many seconds."""

    name: str
    measure: Callable[[float], Awaitable[float]]


@dataclass
class Choice:
    """Ways to do one thing, of which the first is the product's; `unit` is of their figures."""

    what: str
    unit: str
    ways: list[Way]
    found: dict[str, list[float]] = field(default_factory=dict)

    async def repeat(self, seconds: float, *, backwards: bool) -> None:
        """Measure each way once."""
        for way in reversed(self.ways) if backwards else self.ways:
            self.found.setdefault(way.name, []).append(await way.measure(seconds))

    def rows(self) -> list[list[str]]:
        """Each way's median figure, and its ratio to the first: least, median, most."""
        first = self.found[self.ways[0].name]
        return [
            [self.what, way.name, f"{statistics.median(self.found[way.name]):.4g}", self.unit, *ratios]
            for way in self.ways
            for ratios in [spread(self.found[way.name], first)]
        ]


def spread(figures: Sequence[float], first: Sequence[float]) -> list[str]:
    """Least, median and most of the ratios within each repeat."""
    ratios = [one / other for one, other in zip(figures, first, strict=True)]
    return [f"{found:.2f}" for found in (min(ratios), statistics.median(ratios), max(ratios))]


async def rate(send: Send, seconds: float, in_flight: int = IN_FLIGHT) -> float:
    """Exchanges a second with so many in flight, after a tenth of the time to warm up."""
    done, counting = 0, False

    async def one_after_another(until: float) -> None:
        nonlocal done
        while time.perf_counter() < until:
            await send()
            done += counting

    begun = time.perf_counter()
    tasks = [asyncio.create_task(one_after_another(begun + seconds)) for _ in range(in_flight)]
    await asyncio.sleep(seconds / 10)
    counting, begun = True, time.perf_counter()
    await asyncio.gather(*tasks)
    return done / (time.perf_counter() - begun)


async def lone_ms(send: Send, seconds: float) -> float:
    """The median milliseconds of an exchange with no other in flight."""
    taken, until = [], time.perf_counter() + seconds
    while time.perf_counter() < until:
        begun = time.perf_counter()
        await send()
        taken.append((time.perf_counter() - begun) * 1e3)
    return statistics.median(taken)


async def answer(scope: Mapping[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Any]) -> None:
    """An ASGI app that reads a body and answers `ANSWER`."""
    while scope["type"] == "http" and (await receive()).get("more_body", False):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(ANSWER))]})
    await send({"type": "http.response.body", "body": ANSWER})


@asynccontextmanager
async def uvicorn(
    place: Sequence[str], door: HttpClient, loop: str = "uvloop", http: str = "httptools"
) -> AsyncIterator[HttpClient]:
    """The app behind uvicorn, at a place as its command line has it, and a door to it."""
    options = ["--loop", loop, "--http", http, "--lifespan", "off", "--no-access-log", "--log-level", "error"]
    command = [sys.executable, "-m", "uvicorn", "benchmarks.costs.choices:answer", *place, *options]
    child = Child.start(command, os.environ, Path.cwd(), None)
    try:
        await answers(lambda: door.exchange("POST", "/", b""))
        yield door
    finally:
        await door.close()
        child.stop(5)


async def answers(ask: Send) -> None:
    """Wait until it does."""
    async with asyncio.timeout(START_S):
        while True:
            with contextlib.suppress(Exception):
                await ask()
                return
            await asyncio.sleep(0.05)


async def server(stack: AsyncExitStack, _: Path) -> list[Choice]:
    """Each parser on each loop, all of them running."""
    ways = []
    for http, loop in (("httptools", "uvloop"), ("httptools", "asyncio"), ("h11", "uvloop"), ("h11", "asyncio")):
        port = free_port()
        door = HttpClient(f"http://127.0.0.1:{port}")
        await stack.enter_async_context(uvicorn(["--port", str(port)], door, loop, http))
        ways.append(Way(f"{http}, {loop}", partial(rate, _post(door, UPLOAD))))
    return [Choice("server", "requests/s", ways)]


async def client(stack: AsyncExitStack, folder: Path) -> list[Choice]:
    """The product's client and httpx, each with its own processor time an exchange, because the server's is common."""
    path = str(folder / "echo")
    door = await stack.enter_async_context(uvicorn(["--uds", path], HttpClient(f"unix:{path}")))
    other = await stack.enter_async_context(
        httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=path, limits=httpx.Limits(max_connections=None)))
    )

    async def by_httpx() -> object:
        return (await other.post("http://localhost/", content=FRAME)).content

    sends = {"aiohttp": _post(door, FRAME), "httpx": by_httpx}
    rates = [Way(name, partial(rate, send)) for name, send in sends.items()]
    costs = [Way(name, partial(cost_ms, send)) for name, send in sends.items()]
    return [Choice("client", "requests/s", rates), Choice("client, own processor time", "ms", costs)]


async def cost_ms(send: Send, seconds: float) -> float:
    """Milliseconds of this process's processor for an exchange."""
    count = 0

    async def counted() -> None:
        nonlocal count
        await send()
        count += 1

    begun = time.process_time()
    await rate(counted, seconds)
    return (time.process_time() - begun) * 1e3 / count


async def encoder(_: AsyncExitStack, __: Path) -> list[Choice]:
    """Microseconds to encode the answer about one picture."""
    encoders: dict[str, Callable[[], object]] = {
        "orjson": lambda: orjson.dumps(DOCUMENT),
        "json": lambda: json.dumps(DOCUMENT, separators=(",", ":")).encode(),
    }

    async def measure(encode: Callable[[], object], seconds: float) -> float:
        count, begun = 0, time.perf_counter()
        while time.perf_counter() - begun < seconds / 4:
            for _ in range(100):
                encode()
            count += 100
        return (time.perf_counter() - begun) / count * 1e6

    ways = [Way(name, partial(measure, encode)) for name, encode in encoders.items()]
    return [Choice("json", "µs", ways)]


def _post(door: HttpClient, body: bytes) -> Send:
    return lambda: door.exchange("POST", "/", body)


async def measured(names: Sequence[str], repeats: int, seconds: float) -> list[Choice]:
    """All the choices of these names, measured."""
    from benchmarks.costs.choices.torchserve import delay, hop  # noqa: PLC0415

    made = {"server": server, "client": client, "json": encoder, "hop": hop, "delay": delay}
    found = []
    for name in names or made:
        with tempfile.TemporaryDirectory(prefix="ch-") as folder:
            async with AsyncExitStack() as stack:
                choices = await made[name](stack, Path(folder))
                for place in range(repeats):
                    for choice in choices:
                        await choice.repeat(seconds, backwards=place % 2 == 1)
                found += choices
    return found


@click.command(help=__doc__)
@click.argument("what", nargs=-1, type=click.Choice(["server", "client", "json", "hop", "delay"]))
@click.option("--repeats", default=5, show_default=True)
@click.option("--seconds", default=2.0, show_default=True, help="For each way in a repeat.")
@click.option(
    "--into", type=click.Path(path_type=Path), default=RESULTS, show_default=True, help="All figures, as JSON."
)
def main(what: Sequence[str], repeats: int, seconds: float, into: Path) -> None:
    """Measure, print a table, and write every figure."""
    choices = uvloop.run(measured(what, repeats, seconds))
    rows = [row for choice in choices for row in choice.rows()]
    click.echo(table(["what", "way", "median", "unit", "least", "ratio", "most"], rows))
    into.parent.mkdir(exist_ok=True)
    told = {"when": time.strftime("%F %T"), "repeats": repeats, "seconds": seconds, "choices": {}}
    told["choices"] = {f"{choice.what}, {choice.unit}": choice.found for choice in choices}
    into.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
