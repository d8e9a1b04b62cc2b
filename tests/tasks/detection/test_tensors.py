"""Detections as tensors."""

import numpy as np
import pytest
from pydantic import ValidationError

from service.models.cards import ModelCard
from service.tasks.base import Arrays, DecodedFacts
from service.tasks.detection.tensors import DetectionParameters, v2_arrays, v2_outputs
from tests.gateway.fixtures.fake_outputs import expected_detections

SIZES = ((200, 100), (30, 60))


@pytest.fixture
def card(served: dict[str, ModelCard]) -> ModelCard:
    return served["tiny-detector"]


@pytest.fixture
def rows(card: ModelCard) -> list[tuple[DecodedFacts, Arrays]]:
    """Return two images with five and with two detections."""
    arrays = [expected_detections(card, np.full((8, 8, 3), level, np.uint8)) for level in (0, 1)]
    arrays[1] = {name: array[:2] for name, array in arrays[1].items()}
    return [(DecodedFacts(*size, "PNG", "RGB", ()), each) for size, each in zip(SIZES, arrays, strict=True)]


def test_an_image_with_fewer_detections_has_empty_rows(
    card: ModelCard, rows: list[tuple[DecodedFacts, Arrays]]
) -> None:
    found = v2_arrays(card, rows, DetectionParameters())
    assert found["num_detections"].tolist() == [5, 2]
    assert found["class_ids"][1].tolist() == [*rows[1][1]["class_ids"].tolist(), -1, -1, -1]
    assert found["scores"][1, 2:].tolist() == [0, 0, 0]
    assert not found["boxes"][1, 2:].any()
    np.testing.assert_array_equal(found["masks"][0], rows[0][1]["masks"])


def test_boxes_are_in_pixels_of_the_upload(card: ModelCard, rows: list[tuple[DecodedFacts, Arrays]]) -> None:
    found = v2_arrays(card, rows, DetectionParameters())
    for index, (width, height) in enumerate(SIZES):
        own = rows[index][1]["boxes"]
        np.testing.assert_allclose(found["boxes"][index, : len(own)], own * [width, height, width, height], rtol=1e-6)


def test_the_arrays_are_as_declared(card: ModelCard, rows: list[tuple[DecodedFacts, Arrays]]) -> None:
    found = v2_arrays(card, rows, DetectionParameters())
    kinds = {"INT32": "int32", "FP32": "float32", "UINT8": "uint8"}
    assert set(found) == set(v2_outputs(card))
    for name, facts in v2_outputs(card).items():
        assert found[name].dtype.name == kinds[facts["datatype"]]
        assert len(found[name].shape) == len(facts["shape"])
        assert all(side in (-1, length) for side, length in zip(facts["shape"], found[name].shape, strict=True))


def test_parameters_bound_the_score_and_the_number(card: ModelCard, rows: list[tuple[DecodedFacts, Arrays]]) -> None:
    assert v2_arrays(card, rows, DetectionParameters(min_score=0.6))["num_detections"].tolist() == [2, 2]
    assert v2_arrays(card, rows, DetectionParameters(max_detections=1))["boxes"].shape == (2, 1, 4)
    nothing = v2_arrays(card, rows, DetectionParameters(min_score=1))
    assert nothing["boxes"].shape == (2, 0, 4)


def test_a_model_without_masks_has_no_such_output(card: ModelCard) -> None:
    named = card.network.model_copy(update={"name": "faster_rcnn_resnest50"})
    assert "masks" not in v2_outputs(card.model_copy(update={"network": named}))


@pytest.mark.parametrize(
    "wrong", [{"min_score": 2}, {"min_score": "x"}, {"max_detections": 0}, {"max_detections": 1.5}]
)
def test_a_parameter_out_of_range_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        DetectionParameters.model_validate(wrong)
