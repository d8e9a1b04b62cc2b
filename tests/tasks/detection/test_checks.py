"""What a worker's arrays must be; `tests/tasks/test_output_checks.py` has what holds for every task."""

from typing import Any

import numpy as np
import pytest

from service.models.cards import ModelCard
from service.tasks.detection.checks import MAX_DETECTIONS, detections_fit, has_masks
from tests.gateway.fixtures.fake_outputs import expected_detections

PIXELS = np.zeros((64, 96, 3), np.uint8)


@pytest.fixture
def card(served: dict[str, ModelCard]) -> ModelCard:
    return served["tiny-detector"]


def without_masks(card: ModelCard) -> ModelCard:
    return card.model_copy(update={"network": card.network.model_copy(update={"name": "faster_rcnn_resnest50"})})


def test_the_name_of_a_network_says_whether_it_has_masks(card: ModelCard) -> None:
    assert has_masks(card)
    assert not has_masks(without_masks(card))


def test_a_model_without_masks_returns_none(card: ModelCard) -> None:
    boxes = expected_detections(without_masks(card), PIXELS)
    assert detections_fit(without_masks(card), PIXELS, boxes)
    assert not detections_fit(card, PIXELS, boxes)


def test_an_image_may_have_no_detection(card: ModelCard) -> None:
    arrays = {name: array[:0] for name, array in expected_detections(card, PIXELS).items()}
    assert detections_fit(card, PIXELS, arrays)


@pytest.mark.parametrize(
    ("name", "value"),
    [("boxes", 1.5), ("boxes", -0.5), ("scores", 1.5), ("scores", -0.5), ("class_ids", 2), ("boxes", np.inf)],
)
def test_a_value_out_of_range_does_not_fit(name: str, value: Any, card: ModelCard) -> None:
    arrays = expected_detections(card, PIXELS)
    arrays[name] = np.full_like(arrays[name], value)
    assert not detections_fit(card, PIXELS, arrays)


def test_detections_are_sorted_by_score_and_boxes_are_not_inside_out(card: ModelCard) -> None:
    arrays = expected_detections(card, PIXELS)
    assert not detections_fit(card, PIXELS, {**arrays, "scores": arrays["scores"][::-1]})
    assert not detections_fit(card, PIXELS, {**arrays, "boxes": arrays["boxes"][:, ::-1]})


def test_there_are_no_more_detections_than_a_model_returns(card: ModelCard) -> None:
    one = {name: array[:1] for name, array in expected_detections(card, PIXELS).items()}
    for count in (MAX_DETECTIONS, MAX_DETECTIONS + 1):
        many = {name: np.repeat(array, count, axis=0) for name, array in one.items()}
        assert detections_fit(card, PIXELS, many) is (count <= MAX_DETECTIONS)


def test_masks_have_28_rows_and_columns(card: ModelCard) -> None:
    arrays = expected_detections(card, PIXELS)
    assert not detections_fit(card, PIXELS, {**arrays, "masks": arrays["masks"][:, :14]})
