"""The sign of an unknown image that `train` gives a new model, on features whose kinds are known."""

import numpy as np
import pytest

from service.cli.accuracy import domain_file, unknown_sign
from service.cli.accuracy.domain_file import Features
from service.engines.training import linear_head
from service.engines.training.linear_head import LinearHead
from service.models.calibration import Calibration
from service.tasks.classification.domain_head import DomainHead


def features(seed: int, each: int = 60) -> tuple[Features, np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """Return features of two classes, along two axes, and the class ids."""
    random = np.random.default_rng(seed)
    ids = np.repeat([0, 1], each)
    found = random.normal(0, 0.5, (2 * each, 10))
    found[np.arange(2 * each), ids] += 3
    return found.astype(np.float32), ids


@pytest.fixture(scope="module")
def head() -> LinearHead:
    known, ids = features(1)
    return linear_head.fit(known, ids, np.arange(len(ids)) % 5)


def others(count: int) -> Features:
    return np.random.default_rng(9).normal(0, 0.5, (count, 10)).astype(np.float32)


def test_without_other_things_it_is_the_largest_logit(head: LinearHead) -> None:
    sign = unknown_sign.of_training(head, features(1)[0], features(2)[0])

    assert Calibration.model_validate({**sign.table, "made_of": "0" * 64}).min_logit is not None
    assert sign.files == {}
    assert "found" not in sign.rates
    assert sign.rates["images"] == 120
    assert sign.rates["false_alarms"] == pytest.approx(unknown_sign.FALSE_ALARMS, abs=0.06)


def test_with_other_things_it_is_a_domain_score_that_finds_them(head: LinearHead) -> None:
    sign = unknown_sign.of_training(head, features(1)[0], features(2)[0], others(100))

    domain = Calibration.model_validate({**sign.table, "made_of": "0" * 64}).domain
    assert domain
    assert DomainHead.parse(sign.files[domain.file]).weight.shape == (2, 10)
    assert (sign.rates["others_fitted_on"], sign.rates["others"]) == (50, 50)
    assert sign.rates["found"] > 0.95
    assert sign.rates["false_alarms"] < 0.15


@pytest.mark.parametrize("count", [1, 2 * domain_file.LEAST - 1])
def test_too_few_other_things_only_measure_and_this_is_said(
    count: int, head: LinearHead, capsys: pytest.CaptureFixture[str]
) -> None:
    sign = unknown_sign.of_training(head, features(1)[0], features(2)[0], others(count))

    assert f"{count} images of other things are too few for a domain score" in capsys.readouterr().err
    assert "min_logit" in sign.table
    assert sign.rates["others"] == count
    assert sign.rates["found"] > 0.7
    assert sign.rates["auroc"] > 0.9
    assert "others_fitted_on" not in sign.rates
