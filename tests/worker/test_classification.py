"""The handler of classification models, with a real network."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from service import engines
from service.models import cards
from service.tasks import frame
from service.worker.handler import BatchHandler
from tests.worker.requests import context, request

Pixels = npt.NDArray[np.uint8]


def test_the_classification_handler_answers_what_its_engine_does(store: Path, pictures: Pixels) -> None:
    handler = BatchHandler()
    handler.initialize(context(store / "tiny-classifier"))
    replies = handler.handle([request(picture) for picture in pictures], None)
    expected = engines.load(cards.read(store / "tiny-classifier"), "cpu")(pictures)["scores"]
    for reply, row in zip(replies, expected, strict=True):
        np.testing.assert_allclose(frame.unpack(reply)[1]["scores"], row, atol=1e-6)


def test_a_classifier_takes_only_the_square_of_its_size(store: Path) -> None:
    spec = cards.read(store / "tiny-classifier").input
    assert [spec.accepts(*sides) for sides in ((64, 64), (64, 63), (128, 128))] == [True, False, False]
