"""Running pictures of one shape through an engine, so that what goes wrong stays with the picture it belongs to."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from service.engines import Arrays, Engine, Pictures
from service.engines.failures import device_lost, out_of_memory


@dataclass(frozen=True)
class Answered:
    """One picture's arrays, the pictures in its forward pass, and how long that took."""

    arrays: Arrays
    batch: int
    inference_ms: float


def run(engine: Engine, pictures: Sequence[Pictures]) -> list[Answered | Exception]:
    """An outcome for each of the pictures `(h, w, 3)`, all of one shape, in their order.

    A batch that fails for lack of memory is run again in halves, one that fails otherwise picture by picture. Raises
    `SystemExit` where the device is lost: TorchServe starts a new worker, and nothing less helps.
    """
    try:
        return list(_forward(engine, pictures))
    except Exception as error:
        if device_lost(error):
            raise SystemExit(1) from error
        if len(pictures) == 1:
            return [error]
        step = (len(pictures) + 1) // 2 if out_of_memory(error) else 1
    # Out here the error, and with it the failed pass's arrays, is freed.
    parts = (pictures[start : start + step] for start in range(0, len(pictures), step))
    return [outcome for part in parts for outcome in run(engine, part)]


def _forward(engine: Engine, pictures: Sequence[Pictures]) -> list[Answered]:
    started = time.perf_counter()
    arrays = engine(np.stack(pictures))
    inference_ms = (time.perf_counter() - started) * 1e3
    return [
        Answered({name: array[place] for name, array in arrays.items()}, len(pictures), inference_ms)
        for place in range(len(pictures))
    ]
