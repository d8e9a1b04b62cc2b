"""`python -m benchmarks.costs.choices [WHAT...]`: compare chosen components with their alternatives.

- `server`: HTTP parser and event loop of the gateway. A body of 50 kB in, JSON out, 16 connections.

- `client`: HTTP client of the gateway. 150 kB to TorchServe, a frame back, over a Unix socket, 16 in flight.

- `json`: encoder of the responses.

- `hop`: Unix socket, TCP and gRPC to a real TorchServe with the null model, 16 in flight.

- `delay`: batching delay of TorchServe with a model that sleeps as long as ResNeSt-50 takes, 1 and 16 in flight.

Alternatives are measured in turn, backwards in every other repeat. Each ratio is to the chosen one within the repeat.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import click
import httpx
import orjson
import uvloop

from benchmarks.costs.choices.base import Alternative, Choice, Send, rate, wait_until_answering
from benchmarks.costs.choices.torchserve import delay, hop
from service.gateway.backend.http_client import HttpClient
from service.host.processes import Child, free_port
from service.measure.tables import table
from service.tasks.classification.task import CLASSIFICATION

RESULTS = Path("benchmarks/results/choices.json")
UPLOAD, FRAME = bytes(50_000), bytes(150_528 + 200)
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


@asynccontextmanager
async def uvicorn(
    listen: Sequence[str], http_client: HttpClient, loop: str = "uvloop", http: str = "httptools"
) -> AsyncIterator[HttpClient]:
    """Run the app in uvicorn with these arguments for its address, and yield the client, which is connected to it."""
    options = ["--loop", loop, "--http", http, "--lifespan", "off", "--no-access-log", "--log-level", "error"]
    command = [sys.executable, "-m", "uvicorn", "benchmarks.costs.choices.app:answer", *listen, *options]
    child = Child.start(command, os.environ, Path.cwd(), None)
    try:
        await wait_until_answering(lambda: http_client.exchange("POST", "/", b""))
        yield http_client
    finally:
        await http_client.close()
        child.stop(5)


async def server(stack: AsyncExitStack, _: Path) -> list[Choice]:
    """Start a server for each parser on each event loop."""
    alternatives = []
    for http, loop in (("httptools", "uvloop"), ("httptools", "asyncio"), ("h11", "uvloop"), ("h11", "asyncio")):
        port = free_port()
        http_client = HttpClient(f"http://127.0.0.1:{port}")
        await stack.enter_async_context(uvicorn(["--port", str(port)], http_client, loop, http))
        alternatives.append(Alternative(f"{http}, {loop}", partial(rate, _post(http_client, UPLOAD))))
    return [Choice("server", "requests/s", alternatives)]


async def client(stack: AsyncExitStack, folder: Path) -> list[Choice]:
    """Compare the product's client and httpx: their rates, and the CPU time of the client per exchange."""
    path = str(folder / "echo")
    http_client = await stack.enter_async_context(uvicorn(["--uds", path], HttpClient(f"unix:{path}")))
    other = await stack.enter_async_context(
        httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=path, limits=httpx.Limits(max_connections=None)))
    )

    async def by_httpx() -> object:
        return (await other.post("http://localhost/", content=FRAME)).content

    sends = {"aiohttp": _post(http_client, FRAME), "httpx": by_httpx}
    rates = [Alternative(name, partial(rate, send)) for name, send in sends.items()]
    costs = [Alternative(name, partial(cost_ms, send)) for name, send in sends.items()]
    return [Choice("client", "requests/s", rates), Choice("client, CPU time", "ms", costs)]


async def cost_ms(send: Send, seconds: float) -> float:
    """Return the milliseconds of this process's CPU time per exchange."""
    count = 0

    async def counted() -> None:
        nonlocal count
        await send()
        count += 1

    begun = time.process_time()
    await rate(counted, seconds)
    return (time.process_time() - begun) * 1e3 / count


async def encoder(_: AsyncExitStack, __: Path) -> list[Choice]:
    """Compare the microseconds to encode the response for one image."""
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

    alternatives = [Alternative(name, partial(measure, encode)) for name, encode in encoders.items()]
    return [Choice("json", "µs", alternatives)]


def _post(http_client: HttpClient, body: bytes) -> Send:
    return lambda: http_client.exchange("POST", "/", body)


CHOICES = {"server": server, "client": client, "json": encoder, "hop": hop, "delay": delay}


async def measure_choices(names: Sequence[str], repeats: int, seconds: float) -> list[Choice]:
    """Measure the choices with these names, or all of them, and return them."""
    found = []
    for name in names or CHOICES:
        with tempfile.TemporaryDirectory(prefix="ch-") as folder:
            async with AsyncExitStack() as stack:
                choices = await CHOICES[name](stack, Path(folder))
                for index in range(repeats):
                    for choice in choices:
                        await choice.repeat(seconds, backwards=index % 2 == 1)
                found += choices
    return found


@click.command(help=__doc__)
@click.argument("what", nargs=-1, type=click.Choice(list(CHOICES)))
@click.option("--repeats", default=5, show_default=True)
@click.option("--seconds", default=2.0, show_default=True, help="Seconds for each alternative in a repeat.")
@click.option(
    "--into", type=click.Path(path_type=Path), default=RESULTS, show_default=True, help="File for all figures, as JSON."
)
def main(what: Sequence[str], repeats: int, seconds: float, into: Path) -> None:
    """Measure, print a table, and write every figure."""
    choices = uvloop.run(measure_choices(what, repeats, seconds))
    rows = [row for choice in choices for row in choice.rows()]
    click.echo(table(["what", "alternative", "median", "unit", "least", "ratio", "most"], rows))
    into.parent.mkdir(exist_ok=True)
    document = {"when": time.strftime("%F %T"), "repeats": repeats, "seconds": seconds, "choices": {}}
    document["choices"] = {f"{choice.what}, {choice.unit}": choice.found for choice in choices}
    into.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
