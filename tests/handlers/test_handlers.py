"""The handlers as TorchServe finds them, and with real networks."""

import importlib
import inspect
import subprocess
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import numpy.typing as npt
import pytest

from service import cards, engines, envelope
from service.cards import Task
from service.handlers import MODULES
from service.handlers.classification import ClassificationHandler
from service.handlers.segmentation import SegmentationHandler
from tests.handlers.requests import context, request

Pixels = npt.NDArray[np.uint8]


@pytest.mark.parametrize("task", MODULES)
def test_a_task_module_defines_one_class_and_no_function_named_handle(task: Task) -> None:
    module = importlib.import_module(MODULES[task])
    defined = [each for _, each in inspect.getmembers(module, inspect.isclass) if each.__module__ == module.__name__]
    assert [vars(handler)["task"] for handler in defined] == [task]
    assert not hasattr(module, "handle")


def test_every_task_of_a_card_has_a_handler() -> None:
    assert set(MODULES) == set(get_args(Task))


def test_the_table_of_handlers_is_read_without_torch() -> None:
    """The supervisor and the packaging read it, and a second of torch would be a second of every start."""
    code = "import sys, service.handlers, service.packaging, service.cli; print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


def test_the_classification_handler_answers_what_its_engine_does(store: Path, pictures: Pixels) -> None:
    handler = ClassificationHandler()
    handler.initialize(context(store / "tiny-classifier"))
    replies = handler.handle([request(picture) for picture in pictures], None)
    expected = engines.load(cards.read(store / "tiny-classifier"), "cpu")(pictures)["scores"]
    for reply, row in zip(replies, expected, strict=True):
        np.testing.assert_allclose(envelope.unpack(reply)[1]["scores"], row, atol=1e-6)


def test_the_segmentation_handler_answers_what_its_engine_does(store: Path, pictures: Pixels) -> None:
    handler = SegmentationHandler()
    handler.initialize(context(store / "tiny-segmenter"))
    wide = pictures[:, :48]
    replies = handler.handle([request(wide[0]), request(pictures[1]), request(wide[2])], None)
    engine = engines.load(cards.read(store / "tiny-segmenter"), "cpu")
    for reply, alone in zip(replies, (wide[0], pictures[1], wide[2]), strict=True):
        arrays, expected = envelope.unpack(reply)[1], engine(alone[None])
        np.testing.assert_array_equal(arrays["mask"], expected["mask"][0])
        np.testing.assert_allclose(arrays["class_scores"], expected["class_scores"][0], atol=1e-4)


def test_a_classifier_takes_only_the_square_of_its_size(store: Path) -> None:
    handler = ClassificationHandler()
    handler.card = cards.read(store / "tiny-classifier")
    assert [handler.accepts(*sides) for sides in ((64, 64), (64, 63), (128, 128))] == [True, False, False]


def test_a_segmenter_takes_sides_up_to_its_size_in_whole_multiples(store: Path) -> None:
    handler = SegmentationHandler()
    card = cards.read(store / "tiny-segmenter")
    handler.card = card.model_copy(update={"input": card.input.model_copy(update={"size": 65, "multiple": 16})})
    assert [handler.accepts(*sides) for sides in ((80, 16), (16, 80), (81, 16), (0, 16))] == [True, True, False, False]
