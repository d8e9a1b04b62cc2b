"""What a model could give if serving cost nothing: its pictures through the serving code, in this process, no HTTP."""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle

from service.measure.load.summary import Figures, figures
from service.measure.pipeline import Pipeline, Prepared

BATCHES_AHEAD = 3  # prepared or in preparation while one is in the network


@dataclass(frozen=True)
class Limit:
    """Pictures a second with decoding beside the network, batch by batch; and what a lone picture takes, in ms."""

    model: str
    batch_size: int
    decode_threads: int
    pictures: int
    pictures_per_s: float
    decode_ms: Figures
    infer_ms: Figures
    lone_ms: Figures


def measure(
    pipeline: Pipeline, uploads: Sequence[bytes], *, seconds: float, warm_up_s: float, threads: int, lone: int = 50
) -> Limit:
    """Run `lone` pictures alone, then batches for `warm_up_s` that do not count and about `seconds` that do."""
    size = pipeline.card.serving.batch_size
    decode, infer = _alone(pipeline, uploads, lone)
    with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:
        source = _ahead(pool, pipeline, uploads, size * BATCHES_AHEAD)
        ends = _run(pipeline, source, size, seconds=seconds, warm_up_s=warm_up_s)
        pool.shutdown(cancel_futures=True)
    elapsed = ends[-1] - ends[0]
    pictures = size * (len(ends) - 1)
    return Limit(
        model=pipeline.card.name,
        batch_size=size,
        decode_threads=threads,
        pictures=pictures,
        pictures_per_s=pictures / elapsed,
        decode_ms=figures(decode),
        infer_ms=figures(infer),
        lone_ms=figures([sum(pair) for pair in zip(decode, infer, strict=True)]),
    )


def _run(
    pipeline: Pipeline, pictures: Iterator[Prepared], size: int, *, seconds: float, warm_up_s: float
) -> list[float]:
    """When each batch after the warm-up was over: two of them at the least."""
    ends: list[float] = []
    begun = time.perf_counter()
    while len(ends) < 2 or ends[-1] < ends[0] + seconds:
        pipeline.infer([next(pictures) for _ in range(size)])
        over = time.perf_counter()
        if over >= begun + warm_up_s:
            ends.append(over)
    return ends


def _ahead(pool: ThreadPoolExecutor, pipeline: Pipeline, uploads: Sequence[bytes], depth: int) -> Iterator[Prepared]:
    """Prepared pictures in turn, without end; `depth` of them are always under way."""
    waiting: deque[Future[Prepared]] = deque()
    for upload in cycle(uploads):
        waiting.append(pool.submit(pipeline.prepare, upload))
        if len(waiting) >= depth:
            yield waiting.popleft().result()


def _alone(pipeline: Pipeline, uploads: Sequence[bytes], count: int) -> tuple[list[float], list[float]]:
    """Milliseconds of decoding and of the network for one picture after another; the first does not count."""
    decode, infer = [], []
    for _, upload in zip(range(count + 1), cycle(uploads), strict=False):
        begun = time.perf_counter()
        prepared = pipeline.prepare(upload)
        decoded = time.perf_counter()
        pipeline.infer([prepared])
        decode.append((decoded - begun) * 1e3)
        infer.append((time.perf_counter() - decoded) * 1e3)
    return decode[1:], infer[1:]
