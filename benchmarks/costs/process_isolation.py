"""`python -m benchmarks.costs.process_isolation`: the cost of decoding in processes, compared with threads.

Both decode the same images in turn, in several repeats, one image at a time and with 16 in flight. The program reports
the milliseconds of a single image, images per second, and the CPU time per image of all processes together. It also
reports the bytes that an image copies on its way to a process and back, in user space and through the kernel.
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
    """Return the median milliseconds of a single image, with no other in flight."""
    taken = []
    for index in range(count):
        begun = time.perf_counter()
        await work(uploads[index % len(uploads)])
        taken.append((time.perf_counter() - begun) * 1e3)
    return statistics.median(taken)


async def concurrent(work: Work, uploads: Sequence[bytes], count: int, in_flight: int) -> tuple[float, float]:
    """Return images per second with `in_flight` at a time, and CPU milliseconds per image."""
    numbers = iter(range(count))

    async def decode_repeatedly() -> None:
        for index in numbers:
            await work(uploads[index % len(uploads)])

    before, begun = cpu_s(), time.perf_counter()
    await asyncio.gather(*(decode_repeatedly() for _ in range(in_flight)))
    elapsed = time.perf_counter() - begun
    return count / elapsed, (cpu_s() - before) / count * 1e3


def cpu_s() -> float:
    """Return the CPU seconds of this process and its descendants."""
    this = psutil.Process()
    return sum(sum(each.cpu_times()[:2]) for each in (this, *this.children(recursive=True)))


def copies(upload: bytes, spec: Input) -> tuple[int, int]:
    """Return the bytes of pickles that an image adds to upload and pixels, and the bytes through sockets."""
    there = pickle_frames.pack((decode_jobs.prepare, (pickle_frames.out_of_band(upload), LIMITS, [spec])))
    back = pickle_frames.pack((True, decode_jobs.prepare(upload, LIMITS, [spec])))
    return there[0].nbytes + back[0].nbytes, sum(part.nbytes for part in (*there, *back))


async def measure(uploads: Sequence[bytes], spec: Input, count: int, workers: int, repeats: int) -> list[list[str]]:
    """Return a row of medians over the repeats, for threads and for processes."""
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
            await lone(work, uploads, len(uploads))  # warm-up
            found[way].append((await lone(work, uploads, count), *await concurrent(work, uploads, count, 16)))
    threads.close()
    await processes.close()
    return [
        [way, *(f"{statistics.median(figures):.2f}" for figures in zip(*rows, strict=True))]
        for way, rows in found.items()
    ]


@click.command(help=__doc__)
@click.option("--size", default="500x375", show_default=True, help="Size of the generated JPEGs.")
@click.option("--image-folder", "folder", type=click.Path(path_type=Path, exists=True), help="Folder of images to use.")
@click.option("--task", type=click.Choice(list(SPECS)), default=CLASSIFY.name, show_default=True)
@click.option("--count", default=400, show_default=True, help="Images in a repeat, single and again with 16 in flight.")
@click.option("--repeats", default=5, show_default=True)
@click.option("--workers", default=os.cpu_count() or 1, show_default="the cores")
def main(size: str, folder: Path | None, task: str, count: int, repeats: int, workers: int) -> None:
    """Measure, and print a table."""
    width, _, height = size.partition("x")
    images = corpus.read(folder) if folder else corpus.make([(int(width), int(height))], per_size=16)
    uploads = [each.content for each in images]
    spec = SPECS[task]
    rows = uvloop.run(measure(uploads, spec, count, workers, repeats))
    pickled, through_sockets = copies(uploads[0], spec)
    click.echo(table(["", "single ms", "images/s, 16 in flight", "CPU ms per image"], rows))
    click.echo(
        f"First image: {len(uploads[0])} bytes; {pickled} bytes of pickles, {through_sockets} bytes through sockets."
    )


if __name__ == "__main__":
    main()
