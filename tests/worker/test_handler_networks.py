"""The handler with real networks: it returns the outputs of the engine."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from service import engines
from service.models import cards
from service.tasks import frame
from service.worker.handler import BatchHandler
from tests.worker.requests import context, request

Pixels = npt.NDArray[np.uint8]


def test_the_classification_handler_answers_what_its_engine_does(store: Path, images: Pixels) -> None:
    handler = BatchHandler()
    handler.initialize(context(store / "tiny-classifier"))
    replies = handler.handle([request(image) for image in images], None)
    expected = engines.load(cards.read(store / "tiny-classifier"), "cpu")(images)["scores"]
    for reply, row in zip(replies, expected, strict=True):
        np.testing.assert_allclose(frame.unpack(reply)[1]["scores"], row, atol=1e-6)


def test_a_classifier_takes_only_the_square_of_its_size(store: Path) -> None:
    spec = cards.read(store / "tiny-classifier").input
    assert [spec.accepts(*sides) for sides in ((64, 64), (64, 63), (128, 128))] == [True, False, False]


def test_the_segmentation_handler_answers_what_its_engine_does(store: Path, images: Pixels) -> None:
    handler = BatchHandler()
    handler.initialize(context(store / "tiny-segmenter"))
    wide = images[:, :48]
    replies = handler.handle([request(wide[0]), request(images[1]), request(wide[2])], None)
    engine = engines.load(cards.read(store / "tiny-segmenter"), "cpu")
    for reply, alone in zip(replies, (wide[0], images[1], wide[2]), strict=True):
        arrays, expected = frame.unpack(reply)[1], engine(alone[None])
        np.testing.assert_array_equal(arrays["mask"], expected["mask"][0])
        np.testing.assert_allclose(arrays["class_scores"], expected["class_scores"][0], atol=1e-4)


def test_the_best_mask_of_a_picture_of_any_sides_is_answered_beside_a_single_pass(store: Path, images: Pixels) -> None:
    handler = BatchHandler()
    handler.initialize(context(store / "tiny-segmenter"))
    odd = np.repeat(images[0], 2, axis=0)[:101, :50]
    requests = [
        request(images[0]),
        request(odd, operation="predict_multiscale"),
        request(odd),
        request(odd[:0], operation="predict_multiscale"),
    ]
    single, best, refused, empty = map(frame.unpack, handler.handle(requests, None))
    assert single[0]["ok"]
    assert best[0]["ok"]
    assert best[1]["mask"].shape == best[1]["confidence"].shape == (101, 50)
    assert (refused[0]["ok"], empty[0]["ok"]) == (False, False)
