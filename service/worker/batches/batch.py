"""Run images of one shape through an engine, so that a failure stays with the image that caused it."""

import time
from dataclasses import dataclass, field

from service import engines
from service.engines import Engine, Images
from service.engines.failures import device_lost, out_of_memory
from service.tasks.base import Arrays


@dataclass(frozen=True)
class BatchedOutput:
    """One image's arrays, the number of images in its forward pass, and the time of the pass in milliseconds.

    The pass began at `begun_ns`, Unix time in nanoseconds. `is_halved` says that the batch of this image did not fit
    into memory, and was computed in smaller passes.
    """

    arrays: Arrays
    batch: int
    inference_ms: float
    begun_ns: int = field(default=0, compare=False)
    is_halved: bool = False


def run(engine: Engine, images: Images, *, is_halved: bool = False) -> list[BatchedOutput | Exception]:
    """Return an outcome for each of the images `(n, h, w, 3)`, in their order.

    A batch that runs out of memory is run again in halves, one that fails otherwise image by image. Raises `SystemExit`
    where the device is lost: TorchServe starts a new worker, and nothing less helps. `is_halved` says that the images
    are a part of a batch that ran out of memory.
    """
    try:
        return list(_forward(engine, images, is_halved=is_halved))
    except Exception as error:
        if device_lost(error):
            raise SystemExit(1) from error
        if len(images) == 1:
            return [error]
        is_too_large = out_of_memory(error)
    step = (len(images) + 1) // 2 if is_too_large else 1
    is_halved = is_halved or is_too_large
    # Out of the `except` block the error, and with it the arrays of the failed pass, is freed.
    parts = (images[start : start + step] for start in range(0, len(images), step))
    return [outcome for part in parts for outcome in run(engine, part, is_halved=is_halved)]


def _forward(engine: Engine, images: Images, *, is_halved: bool) -> list[BatchedOutput]:
    begun_ns, started = time.time_ns(), time.perf_counter()
    arrays = engine(images)
    inference_ms = (time.perf_counter() - started) * 1e3
    is_halved = is_halved or engines.is_halved(engine, images)
    facts = (len(images), inference_ms, begun_ns, is_halved)
    return [
        BatchedOutput({name: array[index] for name, array in arrays.items()}, *facts) for index in range(len(images))
    ]
