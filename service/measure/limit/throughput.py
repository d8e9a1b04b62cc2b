"""The throughput of a model if serving cost nothing: the engine with full batches that other processes decode."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle

from service.config.cores import threads as engine_threads
from service.measure.limit.batch_feed import BatchFeed, FeedSource, Shape
from service.measure.load.summary import Figures, figures
from service.measure.pipeline import Pipeline
from service.models.cards import ModelCard

ENGINES = 2  # in the second arrangement: while one gathers its outputs, the other computes

Load = Callable[[ModelCard], Pipeline]


@dataclass(frozen=True)
class Arrangement:
    """Engines beside each other, the threads of each, and the images per second of all of them together."""

    engines: int
    threads: int
    images: int
    images_per_s: float

    def __str__(self) -> str:
        return f"{self.engines} engine{'s' * (self.engines > 1)} of {self.threads} threads"


@dataclass(frozen=True)
class Limit:
    """The best arrangement's images and images per second, all arrangements, and milliseconds of a single image."""

    model: str
    batch_size: int
    decode_processes: int
    images: int
    images_per_s: float
    arrangements: list[Arrangement]
    decode_ms: Figures
    infer_ms: Figures
    lone_ms: Figures


def measure(
    card: ModelCard,
    uploads: Sequence[bytes],
    *,
    seconds: float,
    warm_up_s: float,
    processes: int,
    lone: int = 50,
    load: Load = Pipeline.load,
) -> Limit:
    """Measure `lone` single images, then each arrangement for about `seconds` after a warm-up of `warm_up_s`.

    A server cannot be faster: nothing waits for a socket, for a batch to fill, or for a thread that sends outputs. One
    engine with all threads waits at the end of a batch for its last thread. Two engines that share the threads do not,
    so they are measured too, and the better arrangement counts. Raises `CardError` and what the decoder raises.
    """
    pipeline = load(card)
    shapes = [pipeline.prepare(upload).pixels.shape for upload in uploads]
    decode, infer = _measure_single(pipeline, uploads, lone)
    source = FeedSource(uploads, pipeline.limits, pipeline.spec)
    found = []
    for engines, each in arrangements(card):
        pipelines = [pipeline] if engines == 1 else [load(each) for _ in range(engines)]
        with _feed(source, shapes, card.serving.batch_size, processes, engines) as feed:
            images, images_per_s = _run(pipelines, feed, seconds, warm_up_s)
        found.append(Arrangement(engines, engine_threads(each.serving.threads, os.environ), images, images_per_s))
    best = max(found, key=lambda each: each.images_per_s)
    return Limit(
        model=card.name,
        batch_size=card.serving.batch_size,
        decode_processes=processes,
        images=best.images,
        images_per_s=best.images_per_s,
        arrangements=found,
        decode_ms=figures(decode),
        infer_ms=figures(infer),
        lone_ms=figures([sum(pair) for pair in zip(decode, infer, strict=True)]),
    )


def arrangements(card: ModelCard) -> Iterator[tuple[int, ModelCard]]:
    """Yield the numbers of engines to measure, each with the card of one engine."""
    yield 1, card
    count = engine_threads(card.serving.threads, os.environ)
    if count >= ENGINES:
        serving = card.serving.model_copy(update={"threads": count // ENGINES})
        yield ENGINES, card.model_copy(update={"serving": serving})


@contextmanager
def _feed(source: FeedSource, shapes: Sequence[Shape], size: int, processes: int, engines: int) -> Iterator[BatchFeed]:
    feed = BatchFeed(source, shapes, size, processes, engines)
    try:
        feed.wait_until_full()
        yield feed
    finally:
        feed.close()


def _run(pipelines: Sequence[Pipeline], feed: BatchFeed, seconds: float, warm_up_s: float) -> tuple[int, float]:
    """Return the number of measured images and the images per second, at least one batch of each engine."""
    begun = time.perf_counter() + warm_up_s
    measuring = [True] * len(pipelines)

    def run(index: int) -> tuple[int, float]:
        """Return the images and the rate of one engine, between the ends of its first and its last measured batch."""
        ends: list[float] = []
        images = 0
        try:
            while any(measuring):  # also after its own time, so that the others are measured under the same load
                with feed.batch() as batch:
                    pipelines[index].infer_batch(batch)
                end = time.perf_counter()
                if measuring[index] and end >= begun:
                    images += len(batch) if ends else 0
                    ends.append(end)
                    measuring[index] = len(ends) < 2 or end < ends[0] + seconds
        finally:
            measuring[index] = False
        return images, images / (ends[-1] - ends[0])

    with ThreadPoolExecutor(len(pipelines), thread_name_prefix="engine") as pool:
        found = list(pool.map(run, range(len(pipelines))))
    return sum(images for images, _ in found), sum(rate for _, rate in found)


def _measure_single(pipeline: Pipeline, uploads: Sequence[bytes], count: int) -> tuple[list[float], list[float]]:
    """Return the milliseconds of decoding and of the network for `count` single images, after one that warms up."""
    decode, infer = [], []
    for _, upload in zip(range(count + 1), cycle(uploads), strict=False):
        begun = time.perf_counter()
        prepared = pipeline.prepare(upload)
        decoded = time.perf_counter()
        pipeline.infer([prepared])
        decode.append((decoded - begun) * 1e3)
        infer.append((time.perf_counter() - decoded) * 1e3)
    return decode[1:], infer[1:]
