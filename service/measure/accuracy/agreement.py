"""Measure how far two forms of a network agree."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from service.tasks.scoring_base import Batch, BatchComparison


@dataclass(frozen=True)
class Agreement:
    """The share of best labels, or of pixels of masks, that are the same, and the mean absolute score difference."""

    images: int
    same: float
    difference: float


def agreement(pairs: Iterable[tuple[Batch, Batch]], compare: Callable[[Batch, Batch], BatchComparison]) -> Agreement:
    """Return the agreement of pairs of outputs for the same batch. `compare` is that of the task's scoring."""
    found = [compare(first, second) for first, second in pairs]
    return Agreement(
        sum(each.images for each in found),
        float(np.concatenate([each.same for each in found]).mean()),
        float(np.concatenate([each.differences for each in found]).mean()),
    )
