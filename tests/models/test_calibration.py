"""The table `[calibration]` of a card."""

from typing import Any

import pytest
from pydantic import ValidationError

from service.models.calibration import Calibration, Domain

DOMAIN: dict[str, Any] = {"file": "domain-12ab.safetensors", "sha256": "b" * 64, "min_score": -0.5}
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


def test_the_sign_is_the_domain_score_or_the_largest_logit_but_not_both_or_none() -> None:
    without = {name: value for name, value in GOOD.items() if name != "min_logit"}
    assert Calibration.model_validate({**without, "domain": DOMAIN}).min_logit is None
    for wrong in (without, {**GOOD, "domain": DOMAIN}):
        with pytest.raises(ValidationError, match="either min_logit or domain"):
            Calibration.model_validate(wrong)


@pytest.mark.parametrize(
    "change",
    [
        *({"file": name} for name in ("../domain.safetensors", "a/domain.safetensors", "domain.pth")),
        {"sha256": "b"},
        {"min_score": float("inf")},
    ],
)
def test_a_domain_names_a_file_beside_the_card(change: dict[str, Any]) -> None:
    Domain.model_validate(DOMAIN)
    with pytest.raises(ValidationError):
        Domain.model_validate({**DOMAIN, **change})
