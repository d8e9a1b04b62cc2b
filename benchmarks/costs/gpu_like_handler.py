"""A worker whose engine takes nearly the same time for a small and a large batch, as a GPU does.

GPU_LIKE_BATCH_MS is the time of a batch, GPU_LIKE_IMAGE_MS the time that each of its images adds, in milliseconds.
"""

import os
import time

import numpy as np

from service.engines import Images
from service.tasks.torch_head import BatchArrays
from service.worker.handler import BatchHandler


class GpuLikeHandler(BatchHandler):
    """The service's batching handler with an engine that waits."""

    def __init__(self) -> None:
        batch_s, image_s = (float(os.environ[f"GPU_LIKE_{part}_MS"]) / 1e3 for part in ("BATCH", "IMAGE"))

        def wait(images: Images, classes: int) -> BatchArrays:
            time.sleep(batch_s + image_s * len(images))
            return {"scores": np.full((len(images), classes), 1 / classes, np.float32)}

        super().__init__(load=lambda card, _device: lambda images: wait(images, card.network.classes))
