"""What TorchServe loads to measure queues: answers that cost time and no processor, as on a device of its own."""

from benchmarks.contest.model import Paced
from service.worker.handler import BatchHandler


class PacedHandler(BatchHandler):
    """The classification handler, handed another engine."""

    def __init__(self) -> None:
        super().__init__(load=lambda card, _device: Paced(card.network.classes))
