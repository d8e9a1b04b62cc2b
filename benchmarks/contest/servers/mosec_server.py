"""mosec: separate processes for decoding and for the network, as in its ResNet example."""

import os
import sys
from typing import Any

from mosec import Server, Worker

from benchmarks.contest import model


class Decode(Worker):
    """The stage that decodes images."""

    def __init__(self) -> None:
        super().__init__()
        self.model = model.load()

    def deserialize(self, data: bytes) -> bytes:
        """Return the upload unchanged."""
        return data

    def forward(self, data: bytes) -> Any:
        """Return the network's input."""
        return self.model.decode(data)


class Infer(Worker):
    """The stage that runs the network, batch by batch."""

    def __init__(self) -> None:
        super().__init__()
        self.model = model.load()

    def forward(self, data: list[Any]) -> list[Any]:
        """Return the answers to one batch."""
        return self.model.predict(data)


if __name__ == "__main__":
    sys.argv += ["--port", os.environ["PORT"], "--address", "127.0.0.1", "--timeout", "30000", "--log-level", "warning"]
    server = Server()
    server.append_worker(Decode, num=os.cpu_count() or 1)
    server.append_worker(Infer, num=1, max_batch_size=model.BATCH, max_wait_time=model.WAIT_MS)
    server.run()
