"""Images per second of an engine on a device, by the size of the batch, and the shares of the device's limits."""

import time
from collections.abc import Callable, Sequence

import numpy as np

from benchmarks.gpu import roofline
from benchmarks.gpu.options import GpuOptions
from benchmarks.gpu.roofline import Ceilings, Work
from service.engines import Engine
from service.engines.cuda import batch_sizes
from service.models.cards import ModelCard

HEAD = ("IMAGES", "MS", "IMAGES/S", "OF MATRICES", "OF MEMORY")


def measure(
    card: ModelCard,
    engine: Engine,
    limits: Ceilings,
    options: GpuOptions,
    work: Callable[[int], Work],
    sizes: Sequence[int] = (),
) -> list[dict[str, float]]:
    """Return images per second at each batch size, copies both ways included, and the shares of the device's limits.

    `work` returns the work of a pass by its number of images. Without `sizes`, they are all those that the engine
    records.
    """
    side = card.input.square
    found = []
    for count in sizes or batch_sizes.sizes(options.card(card).serving.batch_size):
        images = np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)
        taken: list[float] = []
        end = time.perf_counter() + options.seconds
        while len(taken) < roofline.MIN_RUNS or time.perf_counter() < end:
            begun = time.perf_counter()
            engine(images)
            taken.append(time.perf_counter() - begun)
        seconds = float(np.median(taken))
        shares = roofline.shares(limits, work(count), seconds)
        found.append({"images": count, "ms": seconds * 1e3, "per_s": count / seconds, **shares})
    return found


def rows(found: Sequence[dict[str, float]]) -> list[tuple[str, ...]]:
    """Return a row for each batch size."""
    return [
        (
            f"{each['images']:.0f}",
            f"{each['ms']:.2f}",
            f"{each['per_s']:.0f}",
            f"{each['matrix_share']:.1%}",
            f"{each['memory_share']:.1%}",
        )
        for each in found
    ]
