"""The ranking of classes, against a sort of all of them."""

import numpy as np
import pytest

from service.tasks.classification.classify import ranked

# Scores that tie after rounding, at the bounds, beyond them as far as a worker's check allows, and at the last place.
VALUES = (-1e-4, -1e-9, 0.0, 4e-7, 5e-7, 1.5e-6, 2e-6, 2.5e-6, 0.1, 0.1000004, 0.1000006, 0.5, 0.9999995, 1.0, 1.0001)


@pytest.mark.parametrize("count", [1, 2, 5, 39, 40, 41])
@pytest.mark.parametrize("kinds", [1, 2, 3, len(VALUES)])
def test_the_best_classes_are_the_head_of_all_classes_in_order(kinds: int, count: int) -> None:
    random = np.random.default_rng(count)
    for _ in range(50):
        few = random.choice(VALUES, kinds, replace=False)
        scores = random.choice(few, 40).astype(np.float32)
        rounded = [float(score) for score in np.round(scores.astype(np.float64).clip(0, 1), 6)]
        best = sorted(range(40), key=lambda class_id: (-rounded[class_id], class_id))[:count]
        assert ranked(scores, count) == [(class_id, rounded[class_id]) for class_id in best]
