"""The shapes of responses about whole images."""

import pytest
from pydantic import ValidationError

from service.tasks.classification import examples
from service.tasks.classification.schema import ComparedImage, CompareResponse, Prediction
from service.tasks.shapes import FailedComparison


@pytest.mark.parametrize("score", [-0.1, 1.1])
def test_a_score_is_between_nought_and_one(score: float) -> None:
    with pytest.raises(ValidationError):
        Prediction(label="cat", class_id=0, score=score)


def test_a_model_that_failed_stands_beside_those_that_answered() -> None:
    _, compared = examples.classify()
    problem = {"type": "/problems/overloaded", "title": "t", "status": 503, "detail": "d", "code": "overloaded"}
    compared["results"][0]["models"][1] = {"model": examples.OTHER, "error": problem}

    (result,) = CompareResponse.model_validate(compared).results
    assert isinstance(result, ComparedImage)
    assert isinstance(result.models[1], FailedComparison)
