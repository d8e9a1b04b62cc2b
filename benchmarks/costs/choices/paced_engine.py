"""An engine that takes as long as a real network, and no CPU time."""

import time

from service.engines import Images
from service.tasks.torch_head import BatchArrays
from tests.null_model.engine import NullEngine

# 11.5 ms for a single image, 71 ms for eight: near ResNeSt-50 with OpenVINO on two idle cores.
BATCH_S, IMAGE_S = 0.003, 0.0085


class PacedEngine:
    """The engine of the null model, delayed like a real network."""

    def __init__(self, classes: int) -> None:
        self._null = NullEngine(classes)

    def __call__(self, images: Images) -> BatchArrays:
        """Sleep, then return the scores of the null model."""
        time.sleep(BATCH_S + IMAGE_S * len(images))
        return self._null(images)
