"""The properties of all shapes of requests and responses."""

import pytest
from pydantic import ValidationError

from service.errors import every_error
from service.gateway.routes import examples
from service.tasks.shapes import Problem
from tests.tasks.every_shape import SHAPES

EXAMPLES = examples.responses()


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_answer_of_the_shape_is_accepted(name: str) -> None:
    SHAPES[name].model_validate(EXAMPLES[name])


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_member_that_the_shape_does_not_have_is_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        SHAPES[name].model_validate({**EXAMPLES[name], "surprise": 1})


@pytest.mark.parametrize("error", every_error(), ids=lambda error: error.code())
def test_every_error_makes_a_problem(error: type) -> None:
    Problem.model_validate(error("what happened").problem())


def test_every_shape_says_what_it_is() -> None:
    assert len(SHAPES) > 30
    assert [shape.__name__ for shape in SHAPES.values() if not vars(shape).get("__doc__")] == []
