"""Reading pickles without running them: see also `tests/inputs/test_checkpoints.py`."""

import argparse
import io

import pytest
import torch

from service.models.weights import pickles
from service.models.weights.checksums import IncompatibleWeightsError
from tests.models.weights.checkpoints import pth


def test_a_harmless_object_becomes_a_stand_in_that_keeps_nothing() -> None:
    content = pickles.load(io.BytesIO(pth({"args": argparse.Namespace(lr=0.1), "a": torch.ones(1)})))
    assert isinstance(content["args"], pickles.Inert)
    assert vars(content["args"]) == {}


def test_stand_ins_are_allowed_only_while_a_file_is_read() -> None:
    pickles.load(io.BytesIO(pth({"args": argparse.Namespace()})))
    allowed = torch.serialization.get_safe_globals()
    assert not any(isinstance(each, tuple) and "Namespace" in each[1] for each in allowed)


def test_the_first_sentence_of_an_error_is_short() -> None:
    assert pickles.first_sentence(ValueError("one. two")) == "one"
    assert len(pickles.first_sentence(ValueError("x" * 999))) == 200
    assert pickles.first_sentence(EOFError()) == "unexpected end of file"


def test_an_empty_stream_is_refused() -> None:
    with pytest.raises(IncompatibleWeightsError, match="is not a checkpoint"):
        pickles.load(io.BytesIO(b""))
