"""The check of each operation accepts complete outputs only."""

from typing import Any

import numpy as np
import pytest

from service.models.cards import ModelCard
from service.tasks import TASKS
from tests.gateway.fixtures.fake_outputs import expected_arrays

CASES = [(task.name, operation.name) for task in TASKS.values() for operation in task.operations]
MODELS = {"classification": "tiny-classifier", "segmentation": "tiny-segmenter", "detection": "tiny-detector"}
PIXELS = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)


def test_every_question_has_its_check() -> None:
    assert set(MODELS) == set(TASKS)


@pytest.mark.parametrize(("task", "operation"), CASES)
def test_no_check_accepts_an_output_without_arrays(task: str, operation: str, served: dict[str, ModelCard]) -> None:
    assert not TASKS[task].by_name[operation].fits(served[MODELS[task]], PIXELS, {})


@pytest.mark.parametrize(("task", "operation"), CASES)
def test_only_whole_answers_fit(task: Any, operation: str, served: dict[str, ModelCard]) -> None:
    card, fits = served[MODELS[task]], TASKS[task].by_name[operation].fits
    arrays = expected_arrays(card, PIXELS, operation)

    assert fits(card, PIXELS, arrays)
    assert not fits(card, PIXELS, {**arrays, "more": PIXELS})
    for name, array in arrays.items():
        assert not fits(card, PIXELS, {key: each for key, each in arrays.items() if key != name})
        assert not fits(card, PIXELS, {**arrays, name: array[..., None]})
        other = np.uint8 if array.dtype == np.uint16 else np.uint16
        assert not fits(card, PIXELS, {**arrays, name: array.astype(other)})
        if array.dtype == np.float32:
            assert not fits(card, PIXELS, {**arrays, name: np.full_like(array, np.nan)})
