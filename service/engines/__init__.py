"""The things that run a batch: what `load` makes of a card is called with pictures and answers arrays."""

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from service.cards import ModelCard
from service.engines import torch_engine

Pictures = npt.NDArray[np.uint8]
Answers = dict[str, npt.NDArray[Any]]


class Engine(Protocol):
    """A network with its weights, ready to run."""

    def __call__(self, pictures: Pictures) -> Answers:
        """`(n, h, w, 3)` uint8 RGB to arrays of first axis n.

        Classification: `scores` float32 (n, classes), probabilities. Segmentation: `mask` uint8 (n, h, w), the class
        ids, and `class_scores` float32 (n, classes), the mean probability over each class's own pixels, 0 where it
        has none.
        """
        ...


ENGINES = {"torch": torch_engine.load}


def load(card: ModelCard, device: str | None = None) -> Engine:
    """The engine that the card asks for, on `device` ("cpu", "cuda:0") or the best one there is.

    Raises `CardError` where the weights are missing, are not those of the card's checksum, or do not fit its network.
    """
    return ENGINES[card.serving.engine](card, device)
