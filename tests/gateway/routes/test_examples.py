"""The examples in the OpenAPI description are valid."""

import base64

import pytest

from service.errors import ServiceError, every_error
from service.gateway.routes import examples
from service.imaging import decoder
from service.tasks import sample
from service.tasks.shapes import Problem
from tests.tasks.every_shape import SHAPES

EXAMPLES = examples.responses()


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_answer_has_its_shape(name: str) -> None:
    SHAPES[name].model_validate(EXAMPLES[name])


@pytest.mark.parametrize("error", every_error(), ids=lambda error: error.code())
def test_a_problem_has_its_shape_and_its_class_own_words(error: type[ServiceError]) -> None:
    made = examples.problem(error)

    Problem.model_validate(made)
    assert made["title"] == error.title


def test_the_picture_of_the_request_can_be_decoded() -> None:
    (image,) = examples.request()["images"]

    decoded = decoder.decode(base64.b64decode(image["content"], validate=True), decoder.ImageLimits())

    assert (decoded.width, decoded.height) == (sample.WIDTH, sample.HEIGHT)
