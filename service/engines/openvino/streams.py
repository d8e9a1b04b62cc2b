"""Run the parts of a batch in parallel OpenVINO streams, each with few threads.

Threads that share an operation wait for the slowest one at its end, and one is always late if other processes use the
same cores. Streams do not wait for each other.
"""

from concurrent.futures import ThreadPoolExecutor, wait
from queue import SimpleQueue
from typing import Any, cast

import numpy as np
import numpy.typing as npt

PART_SIZE = 2  # images in a part: as fast as larger parts, with less memory

Array = npt.NDArray[Any]


def parts(images: int, streams: int) -> list[slice]:
    """Return equal parts of the largest number of images that the streams can share equally."""
    each = images // streams
    size = PART_SIZE if each % PART_SIZE == 0 else 1
    return [slice(start, start + size) for start in range(0, each * streams, size)]


class Streams:
    """One infer request for each stream of a compiled model, and one waiting thread for each."""

    def __init__(self, model: Any) -> None:
        self.count = int(model.get_property("NUM_STREAMS"))
        self._idle: SimpleQueue[Any] = SimpleQueue()
        for _ in range(self.count):
            self._idle.put(model.create_infer_request())
        self._threads = ThreadPoolExecutor(self.count, "stream")

    def infer(self, images: Array) -> Array:
        """Return the output `(n, ...)` for the images. Raises OpenVINO's errors, after all parts have ended."""

        def run(part: slice) -> Array:
            request = self._idle.get()
            try:
                request.start_async([images[part]])  # runs in a stream's threads; infer() would also use this one
                request.wait()
                return cast("Array", request.get_output_tensor(0).data.copy())
            finally:
                self._idle.put(request)

        outputs = [self._threads.submit(run, part) for part in parts(len(images), self.count)]
        wait(outputs)
        return np.concatenate([each.result() for each in outputs])
