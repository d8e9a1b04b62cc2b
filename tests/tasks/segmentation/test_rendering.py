"""What is drawn over an image from a mask."""

import io

import numpy as np
from PIL import Image

from service.models.cards import ModelCard
from service.tasks.base import DecodedFacts, ModelOutput
from service.tasks.segmentation.rendering import MaskRendering


def test_an_overlay_leaves_a_background_of_any_name_as_it_is(served: dict[str, ModelCard]) -> None:
    card = served["tiny-segmenter"]
    names = ("Hintergrund", "Katze", "Hund")
    classes = tuple(label.model_copy(update={"label": name}) for label, name in zip(card.classes, names, strict=True))
    card = card.model_copy(update={"classes": classes})
    output = ModelOutput({"mask": np.zeros((4, 4), np.uint8)}, 1, 0.0)

    (layer,) = MaskRendering(overlay="png").layers(card, DecodedFacts(8, 8, "PNG", "RGB", ()), output)

    with Image.open(io.BytesIO(layer.draw(Image.new("RGB", (8, 8), (200, 100, 50))))) as drawn:
        assert drawn.convert("RGB").getcolors() == [(64, (200, 100, 50))]
