"""The checks of a classifier's outputs, beyond those of tests/tasks/test_output_checks.py."""

import numpy as np
import pytest

from service.models.cards import ModelCard
from service.tasks.classification.checks import embedding_fits, explanation_fits, scores_fit
from tests.gateway.fixtures.fake_outputs import expected_arrays

PIXELS = np.zeros((64, 64, 3), np.uint8)


@pytest.fixture
def card(served: dict[str, ModelCard]) -> ModelCard:
    return served["tiny-classifier"]


def test_the_scores_of_another_number_of_classes_do_not_fit(card: ModelCard) -> None:
    assert scores_fit(card, PIXELS, {"scores": np.full(7, 1 / 7, np.float32)})
    assert not scores_fit(card, PIXELS, {"scores": np.full(8, 1 / 8, np.float32)})


@pytest.mark.parametrize("values", [[], [1, np.inf]])
def test_an_embedding_has_finite_numbers(card: ModelCard, values: list[float]) -> None:
    assert embedding_fits(card, PIXELS, {"embedding": np.array([-1, 0.5], np.float32)})
    assert not embedding_fits(card, PIXELS, {"embedding": np.array(values, np.float32)})


def test_an_explanation_has_all_attention_weights_or_none(card: ModelCard) -> None:
    arrays = expected_arrays(card, PIXELS, "explain")
    without = {name: arrays[name] for name in ("scores", "maps", "bias")}

    assert explanation_fits(card, PIXELS, arrays)
    assert explanation_fits(card, PIXELS, without)
    assert not explanation_fits(card, PIXELS, {**without, "splits": arrays["splits"]})
    assert not explanation_fits(card, PIXELS, {**arrays, "stage": arrays["stage"][:-1]})
    assert not explanation_fits(card, PIXELS, {**arrays, "maps": arrays["maps"][:-1]})


@pytest.mark.parametrize("name", ["max_logit", "domain_score"])
def test_a_sign_of_an_unknown_image_is_one_finite_number(name: str, card: ModelCard) -> None:
    scores = np.full(7, 1 / 7, np.float32)

    assert scores_fit(card, PIXELS, {"scores": scores, name: np.array([-3], np.float32)})
    for values in ([np.nan], [], [1, 2]):
        assert not scores_fit(card, PIXELS, {"scores": scores, name: np.array(values, np.float32)})
