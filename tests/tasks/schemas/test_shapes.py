"""What all wire shapes have in common."""

import pytest
from pydantic import BaseModel, ValidationError

from service.errors import every_error
from service.gateway.routes import examples
from service.tasks import schemas

ANSWERS = [pytest.param(name, id=name) for name in examples.ANSWERS]


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_of_the_shape_is_accepted(name: str) -> None:
    getattr(schemas, name).model_validate(examples.ANSWERS[name]())


@pytest.mark.parametrize("name", ANSWERS)
def test_a_member_that_the_shape_does_not_have_is_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        getattr(schemas, name).model_validate({**examples.ANSWERS[name](), "surprise": 1})


@pytest.mark.parametrize("error", every_error(), ids=lambda error: error.code())
def test_every_error_makes_a_problem(error: type) -> None:
    schemas.Problem.model_validate(error("what happened").problem())


def test_every_shape_says_what_it_is() -> None:
    shapes = [shape for shape in vars(schemas).values() if isinstance(shape, type) and issubclass(shape, BaseModel)]

    assert len(shapes) > 30
    assert [shape.__name__ for shape in shapes if not vars(shape).get("__doc__")] == []
