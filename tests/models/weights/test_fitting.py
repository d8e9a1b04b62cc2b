"""Which part of a training script's file is used: see also `tests/inputs/test_checkpoints.py`."""

import pytest
import torch

from service.models.weights import fitting
from service.models.weights.checksums import IncompatibleWeightsError
from service.models.weights.fitting import Choice

EXPECTED = {"body.weight": torch.zeros(2), "body.num_batches_tracked": torch.tensor(0), "fc.weight": torch.zeros(3)}
OWN = {"body.weight": torch.ones(2), "fc.weight": torch.ones(3)}


def test_weights_that_fit_have_no_difference_and_counters_may_be_missing() -> None:
    assert not fitting.difference(OWN, EXPECTED)
    assert "1 missing (fc.weight)" in fitting.difference({"body.weight": torch.ones(2)}, EXPECTED)
    assert fitting.difference({**OWN, "fc.weight": torch.ones(4)}, EXPECTED) == (
        "the weight fc.weight is (4,), but the network has (3,)"
    )


def test_the_member_that_fits_is_used_whatever_others_there_are() -> None:
    content = {"encoder": {"body.weight": torch.ones(2)}, "whole": OWN, "epoch": 3}
    reading = fitting.fit(content, EXPECTED, "official")
    assert reading.state.keys() == OWN.keys()
    assert (reading.used, reading.left_out) == ("whole", ("encoder (1 tensors)", "epoch (int)"))


def test_a_member_of_another_shape_does_not_compete() -> None:
    content = {"old": {**OWN, "fc.weight": torch.ones(5)}, "new": OWN}
    assert fitting.fit(content, EXPECTED, "official").used == "new"


def test_averaged_weights_are_used_where_there_are_no_others() -> None:
    assert fitting.fit({"model_ema": OWN}, EXPECTED, "official").used == "model_ema"


def test_a_word_that_only_contains_ema_is_no_average() -> None:
    content = {"schema": OWN, "ema": {key: value + 1 for key, value in OWN.items()}}
    assert fitting.fit(content, EXPECTED, "official").used == "schema"
    assert fitting.fit(content, EXPECTED, "official", Choice(ema=True)).used == "ema"


def test_members_deeper_than_any_script_nests_them_are_not_searched() -> None:
    content: object = OWN
    for _ in range(9):
        content = {"model": content}
    with pytest.raises(IncompatibleWeightsError, match="holds values that are not tensors by name"):
        fitting.fit(content, EXPECTED, "official")
