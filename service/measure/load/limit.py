"""The throughput of a model without serving: decoding and the network run in this process, without HTTP."""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle

from service.measure.load.summary import Figures, figures
from service.measure.pipeline import Pipeline, Prepared

BATCHES_AHEAD = 3  # batches that are preprocessed or being preprocessed while one is in the network


@dataclass(frozen=True)
class Limit:
    """Images per second in full batches, with decoding in parallel, and the milliseconds of a single image."""

    model: str
    batch_size: int
    decode_threads: int
    images: int
    images_per_s: float
    decode_ms: Figures
    infer_ms: Figures
    lone_ms: Figures


def measure(
    pipeline: Pipeline, uploads: Sequence[bytes], *, seconds: float, warm_up_s: float, threads: int, lone: int = 50
) -> Limit:
    """Measure `lone` single images, then full batches for about `seconds` after a warm-up of `warm_up_s`."""
    size = pipeline.card.serving.batch_size
    decode, infer = _measure_single(pipeline, uploads, lone)
    with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:
        source = _prepare_ahead(pool, pipeline, uploads, size * BATCHES_AHEAD)
        ends = _run(pipeline, source, size, seconds=seconds, warm_up_s=warm_up_s)
        pool.shutdown(cancel_futures=True)
    elapsed = ends[-1] - ends[0]
    images = size * (len(ends) - 1)
    return Limit(
        model=pipeline.card.name,
        batch_size=size,
        decode_threads=threads,
        images=images,
        images_per_s=images / elapsed,
        decode_ms=figures(decode),
        infer_ms=figures(infer),
        lone_ms=figures([sum(pair) for pair in zip(decode, infer, strict=True)]),
    )


def _run(pipeline: Pipeline, images: Iterator[Prepared], size: int, *, seconds: float, warm_up_s: float) -> list[float]:
    """Return the end time of each batch after the warm-up: at least two."""
    ends: list[float] = []
    begun = time.perf_counter()
    while len(ends) < 2 or ends[-1] < ends[0] + seconds:
        pipeline.infer([next(images) for _ in range(size)])
        end = time.perf_counter()
        if end >= begun + warm_up_s:
            ends.append(end)
    return ends


def _prepare_ahead(
    pool: ThreadPoolExecutor, pipeline: Pipeline, uploads: Sequence[bytes], depth: int
) -> Iterator[Prepared]:
    """Yield preprocessed images without end, with `depth` of them in the pool at any time."""
    waiting: deque[Future[Prepared]] = deque()
    for upload in cycle(uploads):
        waiting.append(pool.submit(pipeline.prepare, upload))
        if len(waiting) >= depth:
            yield waiting.popleft().result()


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
