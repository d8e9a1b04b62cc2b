"""The table `[calibration]` of a card."""

from typing import Any

import pytest
from pydantic import ValidationError

from service.models.calibration import Calibration

GOOD: dict[str, Any] = {"temperature": 0.5, "min_logit": -1.5, "made_of": "a" * 64}


def test_a_calibration_without_a_temperature_changes_no_score() -> None:
    assert Calibration(min_logit=2.0, made_of="a" * 64).temperature == 1


@pytest.mark.parametrize(
    "change",
    [{"temperature": 0}, {"temperature": float("inf")}, {"min_logit": float("nan")}, {"made_of": "abc"}, {"limit": 3}],
)
def test_a_value_that_cannot_be_used_is_an_error(change: dict[str, Any]) -> None:
    Calibration.model_validate(GOOD)
    with pytest.raises(ValidationError):
        Calibration.model_validate({**GOOD, **change})
