"""What the service tells of its models and of itself."""

import pytest
from pydantic import ValidationError

from service.gateway.routes import examples
from service.tasks import schemas


def test_a_model_is_in_one_of_three_states() -> None:
    model = examples.model()
    for state in ("ready", "loading", "unavailable"):
        schemas.ModelDetail.model_validate({**model, "state": state})
    with pytest.raises(ValidationError):
        schemas.ModelDetail.model_validate({**model, "state": "tired"})
