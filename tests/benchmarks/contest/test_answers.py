"""What contestants answer, and whether two of them say the same."""

import base64
import io
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks.contest.answers import Said, differ, read

CAT, DOG = {"class_id": 3, "score": 0.75}, {"class_id": 5, "score": 0.25}


def said(*scores: float) -> Said:
    return Said(dict(enumerate(scores)))


def masked(*classes: int) -> Said:
    out = io.BytesIO()
    Image.fromarray(np.array([classes], np.uint8)).save(out, "PNG")
    return Said({}, out.getvalue())


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
    found = read(document)

    assert (found.scores, found.best, found.mask) == ({3: 0.75, 5: 0.25}, 3, None)


@pytest.mark.parametrize("wrap", [lambda text: text, lambda text: {"format": "png", "data": text}])
def test_a_mask_is_found_in_base64(wrap: Any) -> None:
    text = base64.b64encode(b"a picture").decode()

    assert read({"results": [{"mask": wrap(text), "segments": [CAT]}]}).mask == b"a picture"


def test_answers_that_differ_by_less_than_the_engines_do_are_the_same() -> None:
    assert differ([said(0.7, 0.3)], [said(0.7004, 0.2996)], "same") is None
    assert differ([said(0.7, 0.3)], [said(0.69, 0.31)], "usual") is None


@pytest.mark.parametrize("other", [said(0.69, 0.31), said(0.3, 0.7), said(), Said({7: 0.7})])
def test_another_answer_is_named_by_its_picture(other: Said) -> None:
    first = said(0.7, 0.3)

    told = differ([first, first], [first, other], "same")

    assert told is not None
    assert told.startswith("picture 1: ")


def test_the_best_class_must_be_the_same_however_near_the_scores_are() -> None:
    assert differ([said(0.5002, 0.4998)], [said(0.4998, 0.5002)], "same") is not None


def test_masks_are_compared_pixel_by_pixel() -> None:
    every = masked(*[1] * 1000)

    assert differ([every], [masked(*[1] * 996, *[2] * 4)], "same") is None
    assert differ([every], [masked(*[1] * 990, *[2] * 10)], "same") == "picture 0: 1.0% of the masks' pixels differ"
    assert differ([every], [masked(1, 1)], "same") == "picture 0: masks of (1, 1000) and (1, 2)"
    assert differ([every], [said(0.5)], "same") == "picture 0: one has a mask, the other has none"
