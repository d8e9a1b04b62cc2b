"""A batch in parts side by side, each in a stream of few threads: no stream waits for another's before each operation.

Threads that share an operation wait for the last of them at its end, and where other processes use the same cores one
of them is always late.
"""

from concurrent.futures import ThreadPoolExecutor, wait
from queue import SimpleQueue
from typing import Any, cast

import numpy as np
import numpy.typing as npt

TOGETHER = 2  # pictures of a part: as fast as more, with the memory of fewer

Array = npt.NDArray[Any]


def parts(pictures: int, streams: int) -> list[slice]:
    """The parts of what of a batch gives every stream as much as the others."""
    each = pictures // streams
    size = TOGETHER if each % TOGETHER == 0 else 1
    return [slice(start, start + size) for start in range(0, each * streams, size)]


class Streams:
    """A compiled model's requests, one for each of its streams, and a thread that waits for each."""

    def __init__(self, model: Any) -> None:
        self.count = int(model.get_property("NUM_STREAMS"))
        self._idle: SimpleQueue[Any] = SimpleQueue()
        for _ in range(self.count):
            self._idle.put(model.create_infer_request())
        self._threads = ThreadPoolExecutor(self.count, "stream")

    def infer(self, pictures: Array) -> Array:
        """The output for the pictures of `parts`, (n, ...). Raises what OpenVINO does, when no part runs any more."""

        def run(part: slice) -> Array:
            request = self._idle.get()
            try:
                request.start_async([pictures[part]])  # in a stream of the model's: this thread would be one more
                request.wait()
                return cast("Array", request.get_output_tensor(0).data.copy())
            finally:
                self._idle.put(request)

        outputs = [self._threads.submit(run, part) for part in parts(len(pictures), self.count)]
        wait(outputs)
        return np.concatenate([each.result() for each in outputs])
