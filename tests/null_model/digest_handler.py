"""The handler of a model whose scores come from a checksum of all pixels, so that a torn image shows too."""

import numpy as np

from service.engines import Images
from service.models.cards import ModelCard
from service.tasks.torch_head import BatchArrays
from service.worker.handler import BatchHandler
from tests.gateway.fixtures.fake_outputs import expected_scores


class DigestHandler(BatchHandler):
    """The batching handler with the scores that `offline_scores` computes too."""

    def __init__(self) -> None:
        super().__init__(load=lambda card, _device: lambda images: scores(card, images))


def scores(card: ModelCard, images: Images) -> BatchArrays:
    """Return `scores` (n, classes) of images (n, h, w, 3)."""
    return {"scores": np.stack([expected_scores(card, image) for image in images])}
