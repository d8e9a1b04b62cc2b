"""The engine of the null model."""

import numpy as np

from service.engines import Images
from service.tasks.torch_head import BatchArrays


class NullEngine:
    """An engine that computes almost nothing. Each image still has its own scores, so that swapped answers show."""

    def __init__(self, classes: int) -> None:
        self._weights = np.random.default_rng(0).normal(size=(3, classes)).astype(np.float32)

    def __call__(self, images: Images) -> BatchArrays:
        """Return `scores` (n, classes) of the mean colour of 64 pixels of each image (n, h, w, 3)."""
        colours = images[:, ::28, ::28].astype(np.float32).mean(axis=(1, 2)) / 255
        powers = np.exp(colours @ self._weights)
        return {"scores": powers / powers.sum(axis=1, keepdims=True)}
