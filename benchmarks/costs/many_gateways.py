"""`python -m benchmarks.costs.many_gateways`: the rate of one GPU-like worker behind 1, 2, 4 and 10 gateways.

Each gateway is the gateway's own client of model servers, with its own batcher and connections; HTTP to callers and
decoding are left out. TorchServe and the worker are real. The engine waits for a time that hardly depends on the size
of a batch. The same number of callers, divided among the gateways, each send one image at a time, and pause for a
random time before the next. RESNEST_WORKER_CONNECTIONS is the number of connections of TorchServe to the engine.

Every number of gateways is measured once in each round, so that a slow phase of the machine falls on all of them.
"""

import asyncio
import os
import random
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from service.config.settings import ServerAddress
from service.gateway.backend.torchserve import TorchServe
from service.host import health, torchserve
from service.host.processes import Child, free_port
from service.host.served_models import model_archive
from service.models import cards
from service.models.cards import ModelCard
from service.tasks.base import Pixels
from tests.null_model.service import ROOT, package_with
from tests.stores import write_store

HANDLER = "benchmarks.costs.gpu_like_handler"
MODEL = "tiny-classifier"
START_S = 180.0  # a machine may be busy, and each connection needs a process
WARM_UP_S = 0.5
ROW = "{:>8} {:>10} {:>8} {:>12} {:>14}"


@contextmanager
def worker(folder: Path, card: ModelCard) -> Iterator[ServerAddress]:
    """Run TorchServe with the GPU-like model, and yield its address."""
    inference, management = (f"unix:{folder / name}" for name in ("inference", "management"))
    addresses = torchserve.Addresses(inference, management, f"http://127.0.0.1:{free_port()}")
    archives = folder / model_archive.ARCHIVES
    package_with(HANDLER, card, archives)
    torchserve.prepare(folder, [card], archives, addresses)
    environment = torchserve.environment(folder, [card], {**os.environ, "PYTHONPATH": str(ROOT)})
    with (folder / "torchserve.log").open("wb") as log:
        child = Child.start(torchserve.command(folder, os.environ), environment, folder, log)
    try:
        end = time.monotonic() + START_S
        while reasons := health.unready_models(addresses.management, [card.name], whole=True):
            if time.monotonic() > end:
                raise click.ClickException(f"{reasons}; {folder / 'torchserve.log'} may say why")
            time.sleep(0.2)
        yield ServerAddress(addresses.inference, addresses.management)
    finally:
        child.stop(15, lambda: False)


@dataclass(frozen=True)
class Callers:
    """How many callers there are in all, how long each pauses on average, and for how long they send, in seconds."""

    count: int
    pause_s: float
    seconds: float


async def rate(card: ModelCard, address: ServerAddress, gateways: int, callers: Callers) -> list[float]:
    """Return images/s, the mean size of a batch, and the median and 99th percentile of an image's time in ms."""
    clients = [TorchServe([address]) for _ in range(gateways)]
    for client in clients:
        await client.workers(card)
    side = card.input.square
    image = np.random.default_rng(0).integers(0, 255, (side, side, 3), np.uint8)
    start = asyncio.get_running_loop().time() + WARM_UP_S
    answers = await asyncio.gather(
        *(_call(clients[number % gateways], card, image, callers, start) for number in range(callers.count))
    )
    for client in clients:
        await client.close()
    taken = [each for mine in answers for each in mine]
    times = sorted(each for each, _ in taken)
    return [
        len(taken) / callers.seconds,
        statistics.harmonic_mean([batch for _, batch in taken]),  # each image of a batch is one sample
        statistics.median(times),
        times[int(0.99 * len(times))],
    ]


async def _call(
    client: TorchServe, card: ModelCard, image: Pixels, callers: Callers, start: float
) -> list[tuple[float, int]]:
    """Send one image after another; return the time in ms and the batch of those that began and ended in the window."""
    clock, taken, end = asyncio.get_running_loop().time, [], start + callers.seconds
    while clock() < end:
        await asyncio.sleep(random.expovariate(1 / callers.pause_s))
        begun = clock()
        output = await client.predict(card, image, deadline=begun + card.serving.deadline_s, request_id="benchmark")
        if begun >= start and clock() <= end:
            taken.append(((clock() - begun) * 1e3, output.batch))
    return taken


def _report(counts: Sequence[int], rounds: dict[int, list[list[float]]]) -> None:
    click.echo(ROW.format("gateways", "images/s", "of one", "mean batch", "p50 / p99 ms"))
    alone = statistics.median(each[0] for each in rounds[counts[0]])
    for count in counts:
        images, batch, half, most = (statistics.median(column) for column in zip(*rounds[count], strict=True))
        click.echo(
            ROW.format(count, f"{images:.0f}", f"{images / alone:.2f}", f"{batch:.1f}", f"{half:.0f} / {most:.0f}")
        )


@click.command()
@click.option("--gateways", "counts", default="1,2,4,10", help="Numbers of gateways; the first is compared with.")
@click.option("--callers", default=64, help="Callers in all, each with one image in flight.")
@click.option("--pause-ms", default=5.0, help="Mean pause of a caller between two images.")
@click.option("--batch-size", default=32)
@click.option("--batch-ms", default=40.0, help="Time of a batch.")
@click.option("--image-ms", default=1.0, help="Time that each image of a batch adds.")
@click.option("--seconds", default=4.0, help="Length of one measurement.")
@click.option("--rounds", default=3)
def main(counts: str, batch_size: int, batch_ms: float, image_ms: float, rounds: int, **callers: float) -> None:
    """Measure the rate of one GPU-like worker behind several numbers of gateways."""
    os.environ |= {"GPU_LIKE_BATCH_MS": str(batch_ms), "GPU_LIKE_IMAGE_MS": str(image_ms)}
    numbers = [int(each) for each in counts.split(",")]
    sending = Callers(int(callers["callers"]), callers["pause_ms"] / 1e3, callers["seconds"])
    changes = {"serving": {"batch_size": batch_size, "max_batch_delay_ms": 0}}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/tmp")))
        card = cards.read(write_store(folder / "store", MODEL, changes=changes) / MODEL)
        address = stack.enter_context(worker(folder, card))
        measured: dict[int, list[list[float]]] = {count: [] for count in numbers}
        for _ in range(rounds):
            for count in random.sample(numbers, len(numbers)):
                measured[count].append(asyncio.run(rate(card, address, count, sending)))
    _report(numbers, measured)


if __name__ == "__main__":
    main()
