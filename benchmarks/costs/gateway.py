"""`python -m benchmarks.costs.gateway`: the CPU time of an image in the gateway, its decoders, Java and the worker.

The service runs with the null model, so that nearly all CPU time is the cost of serving. With `--against`, the service
of another checkout runs too, and both get each load in turn. The order changes from round to round, and the first round
is a warm-up. CPU times come from /proc, which counts what a process used, not what it waited for. Yet other work on the
cores makes caches cold, so compare two checkouts by one interleaved run. With `--against-setting` the second service is
this checkout, or the other one, with that variable. With `--against-scrapes` its metrics are read under each load.
"""

import asyncio
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import click
import psutil

from benchmarks import made_models
from benchmarks.contest.runner import stop
from service.host.processes import free_port
from service.measure.load import corpus, generator, http_connection
from service.measure.load.generator import Client, Sample
from service.measure.load.http_connection import Address, Request
from service.measure.load.summary import figures
from service.measure.tables import table
from service.models import cards
from service.tasks import TASKS

ROOT = Path(__file__).parents[2]
START_S = 180.0
TIMEOUT_S = 60.0
OPEN_METRICS = "application/openmetrics-text;version=1.0.0"
PARTS = ("gateway", "decoders", "Java", "worker")
HEAD = ("checkout", *(f"{part} ms" for part in PARTS), "p50 ms", "p99 ms", "images/s", "outcomes")


@dataclass(frozen=True)
class Checkout:
    """A checkout of this project whose service runs, and what was measured of it in each round."""

    name: str
    port: int
    pid: int
    cpu_ms: dict[str, list[float]] = field(default_factory=lambda: {part: [] for part in PARTS})
    latency_ms: list[float] = field(default_factory=list)
    images_per_s: list[float] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)

    def row(self) -> list[str]:
        """Return the medians of the rounds, and percentiles over the requests of all rounds."""
        latency = figures(self.latency_ms)
        figure = [
            *(statistics.median(taken) for taken in self.cpu_ms.values()),
            *(latency[name] or 0.0 for name in ("p50", "p99")),
            statistics.median(self.images_per_s),
        ]
        outcomes = ", ".join(f"{count} {outcome}" for outcome, count in self.outcomes.items())
        return [self.name, *(f"{value:.3f}" for value in figure), outcomes]


def ratios(ours: Sequence[float], other: Sequence[float]) -> str:
    """Return the median, the least and the most of the ratios within a round."""
    found = sorted(one / another for one, another in zip(ours, other, strict=True) if another)
    return f"{statistics.median(found):.2f} ({found[0]:.2f} to {found[-1]:.2f})" if found else "-"


@dataclass(frozen=True)
class Load:
    """Callers who send to a path, with so many images of a size in a request, for some seconds.

    The metrics are read every `scrape_s` seconds, if given.
    """

    path: str
    size: str = "335x500"
    images: int = 1
    callers: int = 16
    seconds: float = 4.0
    scrape_s: float | None = None

    def requests_to(self, port: int) -> list[Request]:
        """Return four requests with an image as the body, or one with a form of several images."""
        url = f"http://127.0.0.1:{port}{self.path}"
        width, _, height = self.size.partition("x")
        uploads = corpus.make([(int(width), int(height))], per_size=max(4, self.images))
        if self.images == 1:
            return [http_connection.post(url, each.content, each.media_type, {}) for each in uploads]
        return [http_connection.post(url, *http_connection.form(uploads[: self.images]), {}, self.images)]


@contextmanager
def serving(tree: Path, store: Path, model: str, environment: Mapping[str, str]) -> Iterator[Checkout]:
    """Run the service of a checkout with a copy of the model, and yield it when it is ready."""
    module = next(tree.glob("benchmarks/**/servers/ours_server.py"))  # its folder depends on the checkout's age
    python = tree / ".venv" / "bin" / "python"
    command = [str(python) if python.exists() else sys.executable, "-m"]
    command.append(".".join(module.relative_to(tree).with_suffix("").parts))
    with tempfile.TemporaryDirectory(prefix="cost-", ignore_cleanup_errors=True) as folder:
        for each in {model, *(each.name for each in store.glob("labels"))}:
            shutil.copytree(store / each, Path(folder, "store", each), ignore=shutil.ignore_patterns(".archives"))
        port = free_port()
        named = {"BENCH_STORE": f"{folder}/store", "BENCH_MODEL": model, "PORT": str(port), "TMPDIR": folder}
        path = f"{Path(command[0]).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        variables = {**os.environ, "PYTHONPATH": str(tree), "PATH": path, **named, **environment}
        log = Path(folder, "log")
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603 - a program of this project
                command, env=variables, stdout=output, stderr=output, start_new_session=True, cwd=tree
            )
        try:
            await_ready(port, process, log)
            yield Checkout(tree.name, port, process.pid)
        finally:
            stop(process)


def await_ready(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Return when the service is ready. Raises `click.ClickException` if it ends, or is not ready after `START_S`."""
    end = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < end:
        try:
            with urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
                return
        except (URLError, OSError):  # it does not listen yet, or answers 503
            time.sleep(0.2)
    raise click.ClickException(f"{log}: {log.read_text(encoding='utf-8', errors='replace')[-2000:]}")


def cpu_s(root: int) -> defaultdict[str, float]:
    """Return the CPU seconds that each part of a service has used, by the processes that descend from `root`."""
    found: defaultdict[str, float] = defaultdict(float)
    parts: dict[int, str] = {}
    for process in psutil.Process(root).children(recursive=True):  # parents come before their children
        with process.oneshot():
            parts[process.pid] = part = part_of(process.cmdline(), parts.get(process.ppid(), ""))
            times = process.cpu_times()
        found[part] += times.user + times.system
    return found


def part_of(command: Sequence[str], parent: str) -> str:
    """Return the part that a process is of, by its command line and the part of its parent process."""
    if parent in {"gateway", "decoders"}:
        return "decoders"
    text = " ".join(command)
    if "model_service_worker" in text:
        return "worker"
    if command and Path(command[0]).name == "java":
        return "Java"
    return "gateway" if "gateway" in text else parent


@contextmanager
def scraping(port: int, pause_s: float) -> Iterator[None]:
    """Read the metrics of a service in a thread, over one connection and as OpenMetrics, like Prometheus."""
    ended = threading.Event()

    def scrape() -> None:
        connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
        while not ended.wait(pause_s):
            connection.request("GET", "/metrics", headers={"Accept": OPEN_METRICS})
            connection.getresponse().read()
        connection.close()

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def measure(checkout: Checkout, load: Load) -> None:
    """Apply a load, and add its figures to those of the checkout."""
    before, begun = cpu_s(checkout.pid), time.perf_counter()
    with scraping(checkout.port, load.scrape_s) if load.scrape_s else nullcontext():
        samples = generator.run(_samples(checkout.port, load, begun + load.seconds))
    elapsed = time.perf_counter() - begun
    after = cpu_s(checkout.pid)
    images = sum(sample.images for sample in samples)
    for part, taken in checkout.cpu_ms.items():
        taken.append((after[part] - before[part]) / images * 1e3)
    checkout.latency_ms.extend(sample.latency_s * 1e3 for sample in samples)
    checkout.images_per_s.append(images / elapsed)
    checkout.outcomes.update(sample.outcome for sample in samples)


def _variables(settings: Sequence[str]) -> dict[str, str]:
    return dict(each.split("=", 1) for each in settings)


async def _samples(port: int, load: Load, until: float) -> list[Sample]:
    client = Client(Address("127.0.0.1", port), load.callers, TIMEOUT_S)
    await generator.closed_loop(client, load.requests_to(port), load.callers, until)
    client.close()
    await asyncio.sleep(0)  # the transports close in the next iteration
    return client.samples


@click.command(help=__doc__)
@click.option("--against", type=click.Path(path_type=Path, exists=True), help="Another checkout to compare with.")
@click.option("--store", type=click.Path(path_type=Path), default="benchmarks/store", show_default=True)
@click.option("--model", default=next(iter(made_models.MADE)), show_default=True)
@click.option("--kind", type=click.Choice(["null", "same"]), default="null", show_default=True, help="`same`: no stub.")
@click.option("--path", help="Path and query to send to, instead of the first endpoint of the model's task.")
@click.option("--setting", "settings", multiple=True, metavar="NAME=VALUE", help="A variable of both services.")
@click.option("--against-setting", "others", multiple=True, metavar="NAME=VALUE", help="Only of the second service.")
@click.option("--rounds", default=6, show_default=True, help="Rounds after the warm-up.")
@click.option("--size", default=Load.size, show_default=True)
@click.option("--images", default=Load.images, show_default=True, help="Images in a request.")
@click.option("--callers", default=Load.callers, show_default=True)
@click.option("--seconds", default=Load.seconds, show_default=True, help="Seconds of each load.")
@click.option(
    "--against-scrapes", "scrape_s", type=click.FloatRange(0.05), metavar="SECONDS", help="Scrape the second so often."
)
def main(
    against: Path | None,
    store: Path,
    model: str,
    kind: str,
    path: str | None,
    settings: Sequence[str],
    others: Sequence[str],
    rounds: int,
    **given: Any,
) -> None:
    """Measure, and print a table."""
    made_models.make(store)
    environment = {"BENCH_KIND": kind, "RESNEST_MAX_IN_FLIGHT": "512"}
    environment |= _variables(settings)
    load = Load(path or TASKS[cards.read(store / model).task].endpoints[0].path, **given)
    with ExitStack() as stack:
        second = against or (ROOT if others or load.scrape_s else None)
        trees = [(ROOT, environment), *([(second, environment | _variables(others))] if second else [])]
        running = [stack.enter_context(serving(tree.resolve(), store, model, each)) for tree, each in trees]
        pairs = list(zip(running, (replace(load, scrape_s=None), load), strict=False))
        for checkout, each in pairs:
            measure(Checkout(checkout.name, checkout.port, checkout.pid), replace(each, seconds=2 * load.seconds))
        for index in range(rounds):
            for pair in pairs if index % 2 == 0 else reversed(pairs):
                measure(*pair)
    click.echo(table(HEAD, [checkout.row() for checkout in running]))
    if len(running) > 1:
        first, other = running
        found = [f"{part} {ratios(first.cpu_ms[part], other.cpu_ms[part])}" for part in PARTS]
        click.echo("\nRatios within a round, median (least to most):")
        click.echo(", ".join([*found, f"images/s {ratios(first.images_per_s, other.images_per_s)}"]))


if __name__ == "__main__":
    main()
