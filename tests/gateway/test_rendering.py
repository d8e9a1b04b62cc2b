"""What is drawn of a mask."""

import io

import numpy as np
import pytest
from PIL import Image

from service import images, masks
from service.cards import ModelCard
from service.gateway.backend import Answer
from service.gateway.decoding import Facts
from service.gateway.rendering import in_json, render
from tests.gateway.pictures import picture

FACTS = Facts(96, 72, "PNG", "RGB", ())


@pytest.fixture
def card(served: dict[str, ModelCard]) -> ModelCard:
    return served["tiny-segmenter"]


@pytest.fixture
def answer() -> Answer:
    mask = np.zeros((48, 64), np.uint8)
    mask[12:36, 16:48] = 2
    return Answer({"mask": mask, "class_scores": np.array([0.9, 0, 0.71], np.float32)}, 1, 0.0, 0.0)


@pytest.mark.parametrize("wanted", [[], ["mask"], ["overlay"], ["mask", "overlay"]])
def test_only_what_is_wanted_is_drawn(wanted: list[str], card: ModelCard, answer: Answer) -> None:
    rendering = render(card, answer, FACTS, picture(), images.Limits(), wanted)

    assert sorted(rendering.pngs) == sorted(wanted)
    assert set(in_json(rendering)) == {*wanted, "segments"}


def test_a_png_has_the_uploads_size(card: ModelCard, answer: Answer) -> None:
    rendering = render(card, answer, FACTS, picture(), images.Limits(), ["mask", "overlay"])

    assert {Image.open(io.BytesIO(png)).size for png in rendering.pngs.values()} == {(96, 72)}


def test_the_segments_are_those_of_the_mask_at_the_uploads_size(card: ModelCard, answer: Answer) -> None:
    rendering = render(card, answer, FACTS, b"", images.Limits(), [])

    fitted = masks.fit(answer.arrays["mask"], 96, 72)
    assert rendering.segments == [
        {
            "label": "background",
            "class_id": 0,
            "color": "#000000",
            "pixels": int((fitted == 0).sum()),
            "share": round(float((fitted == 0).mean()), 6),
            "bbox": (0, 0, 96, 72),
            "score": 0.9,
        },
        {
            "label": "dog",
            "class_id": 2,
            "color": "#4363d8",
            "pixels": 48 * 36,
            "share": 0.25,
            "bbox": (24, 18, 48, 36),
            "score": 0.71,
        },
    ]
