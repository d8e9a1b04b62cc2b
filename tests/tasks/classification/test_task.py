"""The limits and comparisons of classification."""

import numpy as np
import pytest

from service.models.cards import ModelCard
from service.tasks.base import Operation
from service.tasks.classification.task import CLASSIFICATION, agreement, v2_outputs
from tests.gateway.fixtures.fake_outputs import expected_arrays

PIXELS = np.zeros((64, 64, 3), np.uint8)


@pytest.mark.parametrize("operation", CLASSIFICATION.operations, ids=lambda operation: operation.name)
def test_the_bytes_of_a_response_are_bounded(operation: Operation, served: dict[str, ModelCard]) -> None:
    card = served["tiny-classifier"]
    arrays = expected_arrays(card, PIXELS, operation.name)

    large = sum(array.nbytes for name, array in arrays.items() if name in {"scores", "embedding", "maps"})
    assert 0 < large <= operation.response_bytes(card)


def test_versions_agree_if_their_best_classes_have_one_label(served: dict[str, ModelCard]) -> None:
    flowers, pets = served["tiny-classifier"], served["tiny-segmenter"]  # the labels of `pets`: background, cat, dog
    cat, rose = np.eye(7, dtype=np.float32)[[0, 4]]

    assert agreement(flowers, {"scores": cat}, pets, {"scores": np.array([0, 0.9, 0.1])}) == 1
    assert agreement(flowers, {"scores": cat}, pets, {"scores": np.array([0, 0.1, 0.9])}) == 0
    assert agreement(flowers, {"scores": rose}, pets, {"scores": np.array([1, 0, 0])}) == 0


def test_the_scores_are_one_row_for_each_image_in_v2(served: dict[str, ModelCard]) -> None:
    assert v2_outputs(served["tiny-classifier"]) == {"scores": {"datatype": "FP32", "shape": [-1, 7]}}
