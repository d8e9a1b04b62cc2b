"""`python -m benchmarks.costs.process_isolation`: the cost of decoding in processes, beside threads of the gateway.

Both do the same work on the same pictures, in turn and again and again, one picture at a time and 16 in flight. What
is told are milliseconds of a lone picture, pictures a second, the processor's time for each of them by all processes
together, and the bytes that a picture's way to a process and back copies in user space and through the kernel.
"""

import asyncio
import os
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import click
import psutil
import uvloop

from service.gateway.uploads import pickle_frames
from service.gateway.uploads.pool_worker import ProcessLimits
from service.gateway.uploads.process_pool import ProcessPool
from service.gateway.uploads.threads import ThreadPool
from service.imaging import decoder
from service.measure.load import corpus
from service.measure.tables import table
from service.models.inputs import Input
from service.tasks import decode_jobs
from service.tasks.classification.classify import CLASSIFY
from service.tasks.segmentation.segment import SEGMENT

LIMITS = decoder.ImageLimits()
SPECS = {
    CLASSIFY.name: Input(profile="official", size=224),
    SEGMENT.name: Input(profile="proportional", size=520, multiple=8),
}

Work = Callable[[bytes], Awaitable[object]]


async def lone(work: Work, uploads: Sequence[bytes], count: int) -> float:
    """The median milliseconds of a picture that has the house to itself."""
    taken = []
    for place in range(count):
        begun = time.perf_counter()
        await work(uploads[place % len(uploads)])
        taken.append((time.perf_counter() - begun) * 1e3)
    return statistics.median(taken)


async def crowd(work: Work, uploads: Sequence[bytes], count: int, in_flight: int) -> tuple[float, float]:
    """Pictures a second with so many in flight, and processor milliseconds for each."""
    numbers = iter(range(count))

    async def one_after_another() -> None:
        for place in numbers:
            await work(uploads[place % len(uploads)])

    before, begun = processor_s(), time.perf_counter()
    await asyncio.gather(*(one_after_another() for _ in range(in_flight)))
    elapsed = time.perf_counter() - begun
    return count / elapsed, (processor_s() - before) / count * 1e3


def processor_s() -> float:
    """The processor's seconds of this process and all that it started."""
    us = psutil.Process()
    return sum(sum(each.cpu_times()[:2]) for each in (us, *us.children(recursive=True)))


def copies(upload: bytes, spec: Input) -> tuple[int, int]:
    """Bytes beside upload and pixels that are made on the way (pickles), and bytes through the kernel's sockets."""
    there = pickle_frames.pack((decode_jobs.prepare, (pickle_frames.out_of_band(upload), LIMITS, [spec])))
    back = pickle_frames.pack((True, decode_jobs.prepare(upload, LIMITS, [spec])))
    return there[0].nbytes + back[0].nbytes, sum(part.nbytes for part in (*there, *back))


async def measure(uploads: Sequence[bytes], spec: Input, count: int, workers: int, repeats: int) -> list[list[str]]:
    """A row of medians over the repeats for each way."""
    threads = ThreadPool(workers, "decode")
    processes = ProcessPool(workers, ProcessLimits(1 << 30, 60))
    await processes.warm()
    ways: dict[str, Work] = {
        "threads": lambda upload: threads.run(decode_jobs.prepare, upload, LIMITS, [spec]),
        "processes": lambda upload: processes.run(decode_jobs.prepare, upload, LIMITS, [spec]),
    }
    found: dict[str, list[tuple[float, float, float]]] = {way: [] for way in ways}
    for _ in range(repeats):
        for way, work in ways.items():
            await lone(work, uploads, len(uploads))  # warm
            found[way].append((await lone(work, uploads, count), *await crowd(work, uploads, count, 16)))
    threads.close()
    await processes.close()
    return [
        [way, *(f"{statistics.median(figures):.2f}" for figures in zip(*rows, strict=True))]
        for way, rows in found.items()
    ]


@click.command(help=__doc__)
@click.option("--size", default="500x375", show_default=True, help="Sides of the made JPEGs.")
@click.option("--pictures", "folder", type=click.Path(path_type=Path, exists=True), help="A folder, in their place.")
@click.option("--task", type=click.Choice(list(SPECS)), default=CLASSIFY.name, show_default=True)
@click.option("--count", default=400, show_default=True, help="Pictures in a repeat, alone and again in a crowd.")
@click.option("--repeats", default=5, show_default=True)
@click.option("--workers", default=os.cpu_count() or 1, show_default="the cores")
def main(size: str, folder: Path | None, task: str, count: int, repeats: int, workers: int) -> None:
    """Measure, and print a table."""
    width, _, height = size.partition("x")
    pictures = corpus.read(folder) if folder else corpus.make([(int(width), int(height))], per_size=16)
    uploads = [picture.content for picture in pictures]
    spec = SPECS[task]
    rows = uvloop.run(measure(uploads, spec, count, workers, repeats))
    made, through = copies(uploads[0], spec)
    click.echo(table(["way", "lone ms", "pictures/s, 16 in flight", "processor ms each"], rows))
    click.echo(f"First picture: {len(uploads[0])} bytes; {made} bytes of pickles, {through} bytes through sockets.")


if __name__ == "__main__":
    main()
