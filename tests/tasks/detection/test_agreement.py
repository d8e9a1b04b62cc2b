"""How far two versions of a detector agree."""

from typing import Any

import numpy as np
import pytest

from service.models.cards import ModelCard
from service.tasks.detection.agreement import agreement

Row = tuple[float, int, tuple[float, float, float, float]]  # score, class id, box

LEFT = (0.0, 0.0, 0.4, 0.8)
RIGHT = (0.5, 0.1, 0.9, 0.9)


@pytest.fixture
def card(served: dict[str, ModelCard]) -> ModelCard:
    return served["tiny-detector"]


def arrays(*rows: Row) -> dict[str, Any]:
    return {
        "scores": np.array([row[0] for row in rows], np.float32),
        "class_ids": np.array([row[1] for row in rows], np.uint16),
        "boxes": np.array([row[2] for row in rows], np.float32).reshape(-1, 4),
    }


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        (arrays(), arrays(), 1),
        (arrays((0.9, 0, LEFT)), arrays(), 0),
        (arrays((0.9, 0, LEFT)), arrays((0.6, 0, LEFT)), 1),
        (arrays((0.9, 0, LEFT)), arrays((0.9, 1, LEFT)), 0),
        (arrays((0.9, 0, LEFT)), arrays((0.9, 0, RIGHT)), 0),
        (arrays((0.9, 0, LEFT), (0.8, 0, RIGHT)), arrays((0.9, 0, RIGHT)), 2 / 3),
        (arrays((0.9, 0, LEFT), (0.8, 0, LEFT)), arrays((0.9, 0, LEFT)), 2 / 3),
        (arrays((0.9, 0, LEFT), (0.4, 0, RIGHT)), arrays((0.9, 0, LEFT)), 1),
    ],
    ids=["neither", "one finds nothing", "equal", "label", "place", "one more", "one object twice", "unlikely ones"],
)
def test_detections_are_matched_by_label_and_box(ours: Any, theirs: Any, expected: float, card: ModelCard) -> None:
    assert agreement(card, ours, card, theirs) == pytest.approx(expected)
    assert agreement(card, theirs, card, ours) == pytest.approx(expected)


def test_classes_are_compared_by_label(card: ModelCard) -> None:
    turned = card.model_copy(update={"classes": tuple(reversed(card.classes))})
    turned.__dict__["classes"] = tuple(
        label.model_copy(update={"class_id": index}) for index, label in enumerate(reversed(card.classes))
    )
    assert agreement(card, arrays((0.9, 0, LEFT)), turned, arrays((0.9, 1, LEFT))) == 1
