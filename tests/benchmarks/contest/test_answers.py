"""Tests of the parsing and the comparison of answers."""

import base64
import io
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks.contest.answers import Answer, difference, parse

CAT, DOG = {"class_id": 3, "score": 0.75}, {"class_id": 5, "score": 0.25}


def scored(*scores: float) -> Answer:
    return Answer(dict(enumerate(scores)))


def masked(*classes: int) -> Answer:
    out = io.BytesIO()
    Image.fromarray(np.array([classes], np.uint8)).save(out, "PNG")
    return Answer({}, out.getvalue())


@pytest.mark.parametrize(
    "document",
    [
        [CAT, DOG],
        [[CAT, DOG]],
        {"predictions": [CAT, DOG]},
        {"results": [{"index": 0, "predictions": [CAT, DOG]}], "timing_ms": {"total": 3.5}},
        {"outputs": [{"name": "answer", "shape": [1, 1], "data": [json.dumps([CAT, DOG])]}]},
    ],
)
def test_scores_are_found_wherever_a_server_puts_them(document: Any) -> None:
    found = parse(document)

    assert (found.scores, found.top_class, found.mask) == ({3: 0.75, 5: 0.25}, 3, None)


@pytest.mark.parametrize("wrap", [lambda text: text, lambda text: {"format": "png", "data": text}])
def test_a_mask_is_found_in_base64(wrap: Any) -> None:
    text = base64.b64encode(b"an image").decode()

    assert parse({"results": [{"mask": wrap(text), "segments": [CAT]}]}).mask == b"an image"


def test_answers_that_differ_by_less_than_the_engines_do_are_the_same() -> None:
    assert difference([scored(0.7, 0.3)], [scored(0.7004, 0.2996)], "same") is None
    assert difference([scored(0.7, 0.3)], [scored(0.69, 0.31)], "usual") is None


@pytest.mark.parametrize("other", [scored(0.69, 0.31), scored(0.3, 0.7), scored(), Answer({7: 0.7})])
def test_another_answer_is_named_by_its_picture(other: Answer) -> None:
    first = scored(0.7, 0.3)

    found = difference([first, first], [first, other], "same")

    assert found is not None
    assert found.startswith("image 1: ")


def test_the_best_class_must_be_the_same_however_near_the_scores_are() -> None:
    assert difference([scored(0.5002, 0.4998)], [scored(0.4998, 0.5002)], "same") is not None


def test_masks_are_compared_pixel_by_pixel() -> None:
    every = masked(*[1] * 1000)

    assert difference([every], [masked(*[1] * 996, *[2] * 4)], "same") is None
    assert difference([every], [masked(*[1] * 990, *[2] * 10)], "same") == "image 0: 1.0% of the masks' pixels differ"
    assert difference([every], [masked(1, 1)], "same") == "image 0: masks of (1, 1000) and (1, 2)"
    assert difference([every], [scored(0.5)], "same") == "image 0: one has a mask, the other has none"
