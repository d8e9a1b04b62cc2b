"""A batch in parts side by side, each in a stream of few threads: no stream waits for another's before each operation.

Threads that share an operation wait for the last of them at its end, and where other processes use the same cores one
of them is always late.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from service.engines import openvino_runtime

TOGETHER = 2  # pictures of a part: as fast as more, with the memory of fewer

Array = npt.NDArray[Any]


def parts(pictures: int, streams: int) -> list[slice]:
    """The parts of what of a batch gives every stream as much as the others."""
    each = pictures // streams
    size = TOGETHER if each % TOGETHER == 0 else 1
    return [slice(start, start + size) for start in range(0, each * streams, size)]


class Streams:
    """A compiled model's requests, one for each of its streams; for one caller at a time."""

    def __init__(self, model: Any) -> None:
        self.count = int(model.get_property("NUM_STREAMS"))
        self._model = model
        self._found: dict[int, Array] = {}
        self._queue = self._new()

    def infer(self, pictures: Array) -> Array:
        """The output for the pictures of `parts`, (n, ...). Raises `RuntimeError`."""
        self._found.clear()
        cut = parts(len(pictures), self.count)
        try:
            for part in cut:
                self._queue.start_async([pictures[part]], part.start)
            self._queue.wait_all()
        except RuntimeError:
            self._queue = self._new()  # one that has met an error raises it for ever
            raise
        return np.concatenate([self._found[part.start] for part in cut])

    def _new(self) -> Any:
        queue = openvino_runtime.package().AsyncInferQueue(self._model, self.count)
        queue.set_callback(self._keep)
        return queue

    def _keep(self, request: Any, start: int) -> None:
        self._found[start] = request.get_output_tensor(0).data.copy()
