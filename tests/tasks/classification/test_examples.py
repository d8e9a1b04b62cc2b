"""The examples of the responses about whole images."""

import base64
import io
from typing import Any

import pytest
from PIL import Image

from service.tasks import sample
from service.tasks.base import Endpoint
from service.tasks.classification import examples
from service.tasks.classification.schema import ExplainResponse, Prediction
from service.tasks.classification.task import CLASSIFICATION


@pytest.mark.parametrize("endpoint", CLASSIFICATION.endpoints, ids=lambda endpoint: endpoint.name)
def test_each_response_has_an_example_of_its_shape(endpoint: Endpoint[Any]) -> None:
    for shape, example in zip(endpoint.responses, endpoint.examples(), strict=True):
        assert shape.model_validate(example).model_dump(exclude_unset=True, mode="json") == example


def test_the_predictions_are_sorted_by_score() -> None:
    rows = [Prediction.model_validate(row) for row in examples.PREDICTIONS]

    assert rows == sorted(rows, key=lambda row: -row.score)
    assert sum(row.score for row in rows) <= 1


def test_the_heat_map_is_a_png_of_the_images_size() -> None:
    (document,) = examples.explain()
    (row,) = ExplainResponse.model_validate(document).model_dump()["results"][0]["explanations"]

    with Image.open(io.BytesIO(base64.b64decode(row["overlay"]["data"]))) as overlay:
        assert (overlay.format, overlay.size) == ("PNG", (sample.WIDTH, sample.HEIGHT))
