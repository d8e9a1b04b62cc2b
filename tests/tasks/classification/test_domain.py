"""Whether an answer says that an image is of none of the model's classes."""

import numpy as np
import pytest

from service.models.calibration import Calibration, Domain
from service.models.cards import ModelCard
from service.tasks.classification import domain
from service.tasks.classification.domain import members as domain_members


@pytest.fixture
def card(served: dict[str, ModelCard]) -> ModelCard:
    calibration = Calibration(temperature=2.0, min_logit=3.0, made_of="0" * 64)
    return served["tiny-classifier"].model_copy(update={"calibration": calibration})


def largest(value: float) -> dict[str, np.ndarray]:
    return {"max_logit": np.array([value], np.float32)}


def test_an_image_below_the_least_logit_is_unknown_and_has_a_warning(card: ModelCard) -> None:
    assert domain.members(card, largest(2.9)) == {"unknown": True, "warnings": ["out_of_domain"]}
    assert domain.members(card, largest(3.0)) == {"unknown": False, "warnings": []}


def test_nothing_is_said_without_a_calibration(card: ModelCard) -> None:
    assert domain.members(card.model_copy(update={"calibration": None}), largest(-9.0)) == {}


def test_nothing_is_said_of_the_answer_of_a_worker_that_sends_no_logit(card: ModelCard) -> None:
    assert domain.members(card, {"scores": np.ones(7, np.float32) / 7}) == {}


def test_a_domain_score_decides_in_place_of_the_largest_logit(card: ModelCard) -> None:
    domain = Domain(file="domain-1.safetensors", sha256="0" * 64, min_score=-1.0)
    scored = card.model_copy(update={"calibration": Calibration(domain=domain, made_of="0" * 64)})

    for score, unknown in ((-1.1, True), (-1.0, False)):
        arrays = {**largest(9.0), "domain_score": np.array([score], np.float32)}
        assert domain_members(scored, arrays)["unknown"] is unknown
    assert domain_members(scored, largest(-9.0)) == {}  # of a worker that has not loaded the calibration yet
