"""The handler that TorchServe loads to measure its queue: it takes time and no CPU, like a network on a GPU."""

from benchmarks.costs.choices.paced_engine import PacedEngine
from service.worker.handler import BatchHandler


class PacedHandler(BatchHandler):
    """The batching handler with the paced engine."""

    def __init__(self) -> None:
        super().__init__(load=lambda card, _device: PacedEngine(card.network.classes))
