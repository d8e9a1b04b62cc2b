"""mosec: decoding in processes of its own before the one that infers, as in its ResNet example."""

import os
import sys
from typing import Any

from mosec import Server, Worker

from benchmarks.contest import model


class Decode(Worker):
    """JPEG to pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.model = model.load()

    def deserialize(self, data: bytes) -> bytes:
        """The upload as it is."""
        return data

    def forward(self, data: bytes) -> Any:
        """The network's input."""
        return self.model.decode(data)


class Infer(Worker):
    """Pixels to answers, batch by batch."""

    def __init__(self) -> None:
        super().__init__()
        self.model = model.load()

    def forward(self, data: list[Any]) -> list[Any]:
        """One batch."""
        return self.model.predict(data)


if __name__ == "__main__":
    sys.argv += ["--port", os.environ["PORT"], "--address", "127.0.0.1", "--timeout", "30000", "--log-level", "warning"]
    server = Server()
    server.append_worker(Decode, num=os.cpu_count() or 1)
    server.append_worker(Infer, num=1, max_batch_size=model.BATCH, max_wait_time=model.WAIT_MS)
    server.run()
