"""How far another form of a network answers as its first one does."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from service.engines import Arrays


@dataclass(frozen=True)
class Agreement:
    """Over `pictures`: the share of likeliest labels, or of masks' pixels, that are the same, 0 to 1, and the mean
    absolute difference of the scores.
    """

    pictures: int
    same: float
    difference: float


def agreement(pairs: Iterable[tuple[Arrays, Arrays]]) -> Agreement:
    """What pairs of answers to the same pictures, of batches of one task, have in common."""
    same, differences, pictures = [], [], 0
    for first, second in pairs:
        labels, scores = ("mask", "class_scores") if "mask" in first else ("scores", "scores")
        chosen = [each[labels] if labels == "mask" else each[labels].argmax(axis=1) for each in (first, second)]
        same.append((chosen[0] == chosen[1]).reshape(-1))
        differences.append(np.abs(first[scores] - second[scores]).reshape(-1))
        pictures += len(first[scores])
    return Agreement(pictures, float(np.concatenate(same).mean()), float(np.concatenate(differences).mean()))
