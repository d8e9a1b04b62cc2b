"""`python -m benchmarks.stress.bulk`: callers of a service beside `resnest-service bulk`, which is killed on the way.

Interactive callers send requests at a steady rate. A bulk run over generated images runs beside them in every second
window, and is stopped in the others, so that both are measured in the same minutes. It is killed with SIGKILL in some
windows and started again. When it has ended, each input must have exactly one line. The figures are written to
`benchmarks/results/bulk.json`.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import click

from benchmarks import made_models, results
from benchmarks.contest.contestants import CONTESTANTS
from benchmarks.contest.runner import Contest, ContestError, Entry, started
from service.measure.load import corpus, generator
from service.measure.load.arrivals import poisson
from service.measure.load.generator import OK, Client, Sample
from service.measure.load.summary import figures

COMMAND: Final = str(Path(sys.executable).with_name("resnest-service"))
SIZES: Final = ((320, 240), (240, 320), (335, 500), (640, 480))
DIFFERENT: Final = 50  # images of each size; inputs are links to them
SETTLE_S: Final = 1.0  # from the start of a window to its first sample
CONNECTIONS: Final = 64
NICENESS: Final = 10  # of the bulk run, as docs/cli.md advises on the service's own host
ENDED_WELL: Final = 0


class BulkRun:
    """The command `bulk` over a folder. It can be stopped, continued and killed."""

    def __init__(self, url: str, folder: Path, out: Path, model: str) -> None:
        self.out = out
        self._words = [COMMAND, "bulk", str(folder), "--out", str(out), "--url", url, "--model", model]
        self._process: subprocess.Popen[bytes] | None = None
        self.kills = 0

    @property
    def lines(self) -> int:
        """The number of complete lines in the results."""
        return self.out.read_bytes().count(b"\n") if self.out.exists() else 0

    def proceed(self) -> None:
        """Start the command, or continue it if it is stopped."""
        if self._process is None:
            environment = {name: value for name, value in os.environ.items() if not name.startswith("RESNEST_")}
            with self.out.with_suffix(".log").open("ab") as log:
                nice = ["/usr/bin/nice", "-n", str(NICENESS)]
                self._process = subprocess.Popen(  # noqa: S603
                    [*nice, *self._words], env=environment, stdout=log, stderr=log
                )
        else:
            self._process.send_signal(signal.SIGCONT)

    def pause(self) -> None:
        """Stop the command, if it runs. Its requests in flight are answered meanwhile."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def kill(self) -> None:
        """End the command by SIGKILL."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
            self.kills += 1
        self._process = None

    def has_ended(self) -> bool:
        """Return whether the command has ended by itself. Raises `ContestError` if it failed."""
        code = None if self._process is None else self._process.poll()
        if code not in {None, ENDED_WELL}:
            raise ContestError(f"bulk ended with status {code}: {self.out.with_suffix('.log').read_text()[-500:]}")
        return code is not None


@dataclass
class Latencies:
    """The samples of the callers in windows alone and beside the bulk run, and the images of the bulk run a second."""

    alone: list[Sample] = field(default_factory=list)
    beside: list[Sample] = field(default_factory=list)
    bulk_rates: list[float] = field(default_factory=list)


async def window(entry: Entry, rate: float, seconds: float, seed: int) -> list[Sample]:
    """Return the samples of callers at `rate` requests a second, without those of the first `SETTLE_S`."""
    client = Client(entry.plan.address, CONNECTIONS, entry.plan.timeout_s)
    begun = time.perf_counter()
    try:
        await generator.open_loop(client, entry.plan.requests, poisson(rate, seed), begun + SETTLE_S + seconds)
    finally:
        client.close()
    return [each for each in client.samples if each.scheduled >= begun + SETTLE_S]


def measure(entry: Entry, run: BulkRun, rate: float, seconds: float, kills: int) -> Latencies:
    """Alternate windows until the bulk run has ended. It is killed at the end of the first `kills` of its windows."""
    found, seed = Latencies(), 0
    while True:
        found.alone += generator.run(window(entry, rate, seconds, seed))
        before, begun = run.lines, time.perf_counter()
        run.proceed()
        samples = generator.run(window(entry, rate, seconds, seed + 1))
        if run.has_ended():
            return found
        found.beside += samples
        found.bulk_rates.append((run.lines - before) / (time.perf_counter() - begun))
        if run.kills < kills:
            run.kill()
        else:
            run.pause()
        shown = (figures([each.latency_s * 1e3 for each in part])["p95"] for part in (found.alone, found.beside))
        click.echo(f"{run.lines} lines, p95 alone and beside in ms: {', '.join(f'{each or 0:.1f}' for each in shown)}")
        seed += 2


def account(out: Path, inputs: Sequence[Path]) -> dict[str, int]:
    """Return counts of the inputs with no line, of those with several, of problems, and of foreign lines."""
    documents: list[dict[str, Any]] = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    counts, expected = Counter(each["file"] for each in documents), {str(path) for path in inputs}
    return {
        "lines": len(documents),
        "inputs without a line": len(expected - counts.keys()),
        "inputs with several": sum(count > 1 for count in counts.values()),
        "lines of no input": len(counts.keys() - expected),
        "problems": sum("error" in each for each in documents),
    }


def make_inputs(folder: Path, count: int) -> list[Path]:
    """Return `count` paths of images in several folders. Links keep their size on the disk small."""
    made = corpus.make(SIZES, per_size=DIFFERENT)
    (folder / "different").mkdir(parents=True)
    for index, image in enumerate(made):
        (folder / "different" / f"{index}.jpg").write_bytes(image.content)
    paths = []
    for number in range(count):
        path = folder / "inputs" / f"{number // 1000:03}" / f"{number:06}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        os.link(folder / "different" / f"{number % len(made)}.jpg", path)
        paths.append(path)
    return paths


def document(found: Latencies, run: BulkRun, inputs: Sequence[Path]) -> dict[str, Any]:
    """Return the figures."""
    parts = {"alone": found.alone, "beside": found.beside}
    latencies = {name: figures([each.latency_s * 1e3 for each in samples]) for name, samples in parts.items()}
    ratios = {
        share: (latencies["beside"][share] or 0) / (latencies["alone"][share] or 1) for share in ("p50", "p95", "p99")
    }
    outcomes = {name: dict(Counter(each.outcome for each in samples)) for name, samples in parts.items()}
    rate = sum(found.bulk_rates) / max(1, len(found.bulk_rates))
    return {
        "latency_ms": latencies,
        "beside / alone": ratios,
        "outcomes": outcomes,
        "bulk images a second": rate,
        "kills": run.kills,
        "account": account(run.out, inputs),
    }


@click.command(help=__doc__)
@click.option("--images", default=20_000, show_default=True, type=click.IntRange(1))
@click.option("--rate", default=15.0, show_default=True, help="Requests of the callers a second.")
@click.option("--seconds", default=15.0, show_default=True, help="Seconds of each window.")
@click.option("--kills", default=2, show_default=True)
@click.option("--into", type=click.Path(path_type=Path), default="benchmarks/results", show_default=True)
def main(images: int, rate: float, seconds: float, kills: int, into: Path) -> None:
    """Measure, print and write the figures. Exit with 1 if an input has not exactly one answer."""
    model = made_models.STARTERS[0]
    contest = Contest("same", made_models.PUBLISHED, model, size=SIZES[0])
    with tempfile.TemporaryDirectory(prefix="bulk-") as name, started(CONTESTANTS["ours"], contest) as entry:
        inputs = make_inputs(Path(name), images)
        url = f"http://{entry.plan.address.host}:{entry.plan.address.port}"
        run = BulkRun(url, Path(name) / "inputs", Path(name) / "results.jsonl", model)
        try:
            found = document(measure(entry, run, rate, seconds, kills), run, inputs)
        finally:
            run.kill()
    found |= {"rate": rate, "seconds": seconds, "images": images}
    click.echo(json.dumps(found, indent=1))
    results.write(into, "bulk", {**results.head("stress.bulk"), **found}, json.dumps(found["beside / alone"]))
    failed = any(set(each) - {OK} for each in found["outcomes"].values())
    accounted = found["account"]
    sys.exit(int(failed or accounted.pop("lines") != images or any(accounted.values())))


if __name__ == "__main__":
    main()
