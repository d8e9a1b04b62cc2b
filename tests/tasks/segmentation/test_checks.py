"""The checks of a segmenter's outputs, beyond those of tests/tasks/test_output_checks.py."""

from typing import Any

import numpy as np
import pytest

from service.models.cards import ModelCard
from service.tasks.base import Arrays
from service.tasks.segmentation.checks import confidence_fits, mask_fits

PIXELS = np.zeros((8, 6, 3), np.uint8)
SCORES = np.array([0.5, 0.25, 0], np.float32)


@pytest.fixture
def card(served: dict[str, ModelCard]) -> ModelCard:
    return served["tiny-segmenter"]


def test_a_mask_has_the_size_of_the_image_and_classes_of_the_card(card: ModelCard) -> None:
    mask = np.full((8, 6), 2, np.uint8)

    assert mask_fits(card, PIXELS, {"mask": mask, "class_scores": SCORES})
    assert not mask_fits(card, PIXELS, {"mask": mask.T, "class_scores": SCORES})
    mask[7, 5] = 3
    assert not mask_fits(card, PIXELS, {"mask": mask, "class_scores": SCORES})


@pytest.mark.parametrize("confidence", [None, np.zeros((8, 5), np.uint8), np.zeros((8, 6), np.float32)])
def test_a_confidence_has_a_byte_for_each_pixel(card: ModelCard, confidence: Any) -> None:
    mask: Arrays = {"mask": np.zeros((8, 6), np.uint8), "class_scores": SCORES}

    assert confidence_fits(card, PIXELS, {**mask, "confidence": np.zeros((8, 6), np.uint8)})
    assert not confidence_fits(card, PIXELS, mask if confidence is None else {**mask, "confidence": confidence})
