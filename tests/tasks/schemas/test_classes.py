"""The answers about whole pictures."""

import pytest
from pydantic import ValidationError

from service.gateway.routes import examples
from service.tasks import schemas


@pytest.mark.parametrize("score", [-0.1, 1.1])
def test_a_score_is_between_nought_and_one(score: float) -> None:
    with pytest.raises(ValidationError):
        schemas.Prediction(label="cat", class_id=0, score=score)


def test_a_model_that_failed_stands_beside_those_that_answered() -> None:
    compared = examples.compared()
    problem = {"type": "/problems/overloaded", "title": "t", "status": 503, "detail": "d", "code": "overloaded"}
    compared["results"][0]["models"][1] = {"model": examples.OTHER, "error": problem}

    (result,) = schemas.CompareResponse.model_validate(compared).results
    assert isinstance(result, schemas.ComparedPicture)
    assert isinstance(result.models[1], schemas.FailedComparison)
