"""Choose the unlabelled photos whose labels would help most: the model is unsure, and they differ from each other."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

CANDIDATES: Final = 5  # times the number of suggestions: the least sure photos, from which different ones are chosen
SAME: Final = 1e-6  # a distance below which a photo shows nothing new

Floats = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Suggestion:
    """A photo: its index, its two likeliest classes, the margin between their probabilities, and a distance.

    `distance` is 1 minus the cosine of its features and those of the closest photo that is chosen or labelled already;
    None for the first one.
    """

    index: int
    best: tuple[int, int]
    probabilities: tuple[float, float]
    distance: float | None

    @property
    def margin(self) -> float:
        """The difference of the two probabilities."""
        return self.probabilities[0] - self.probabilities[1]


def choose(features: Floats, probabilities: Floats, count: int, labelled: Floats | None = None) -> list[Suggestion]:
    """Return at most `count` photos, by features `(n, d)` and probabilities `(n, classes)`, at least two classes.

    The candidates are the photos with the smallest margins (Scheffer et al., 2001). Of them, each next one is the
    farthest from those that are chosen, and from the features `(m, d)` that are labelled (greedy k-centre, arXiv
    1708.00489). A copy of one of them is not chosen.
    """
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :2]
    top = np.take_along_axis(probabilities, order, axis=1)
    margins = top[:, 0] - top[:, 1]
    pool = np.argsort(margins, kind="stable")[: CANDIDATES * count]
    directions = _directions(features[pool])
    distances = np.full(len(pool), np.inf)
    if labelled is not None and len(labelled):
        distances = 1 - (directions @ _directions(labelled).T).max(axis=1)
    chosen: list[Suggestion] = []
    for _ in range(min(count, len(pool))):
        at = int(np.argmax(distances))  # the first of equals, which has the smallest margin
        index = int(pool[at])
        distance = float(distances[at]) if np.isfinite(distances[at]) else None
        if distance is not None and distance < SAME:
            break
        best, shares = order[index].tolist(), top[index].tolist()
        chosen.append(Suggestion(index, (best[0], best[1]), (shares[0], shares[1]), distance))
        distances = np.minimum(distances, 1 - directions @ directions[at])
        distances[at] = -np.inf
    return chosen


def _directions(features: Floats) -> Floats:
    """Return the rows at length 1. A row of zeros stays as it is."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    directions: Floats = features / np.where(lengths > 0, lengths, 1)
    return directions
