"""The handler that TorchServe loads for the null model: the service's own worker with another engine."""

from service.worker.handler import BatchHandler
from tests.null_model.engine import NullEngine


class NullHandler(BatchHandler):
    """The batching handler with the engine of the null model."""

    def __init__(self) -> None:
        super().__init__(load=lambda card, _device: NullEngine(card.network.classes))
