"""The schemas of the responses about models and readiness."""

import pytest
from pydantic import ValidationError

from service.gateway.routes import examples
from service.gateway.routes.schemas import ModelDetail


def test_a_model_is_in_one_of_three_states() -> None:
    model = examples.model()
    for state in ("ready", "loading", "unavailable", "refused"):
        ModelDetail.model_validate({**model, "state": state})
    with pytest.raises(ValidationError):
        ModelDetail.model_validate({**model, "state": "tired"})
