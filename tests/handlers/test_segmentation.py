"""The handler of segmentation models, with a real network."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from service import cards, engines, envelope
from service.handlers.segmentation import SegmentationHandler
from tests.handlers.requests import context, request

Pixels = npt.NDArray[np.uint8]


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


def test_a_segmenter_takes_sides_up_to_its_size_in_whole_multiples(store: Path) -> None:
    handler = SegmentationHandler()
    card = cards.read(store / "tiny-segmenter")
    handler.card = card.model_copy(update={"input": card.input.model_copy(update={"size": 65, "multiple": 16})})
    assert [handler.accepts(*sides) for sides in ((80, 16), (16, 80), (81, 16), (0, 16))] == [True, True, False, False]
