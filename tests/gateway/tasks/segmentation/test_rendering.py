"""The rendering of masks and overlays."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from service.imaging.decoder import ImageLimits
from service.models import cards
from service.tasks.base import DecodedFacts, Drawn, ModelOutput
from service.tasks.decode_jobs import draw
from service.tasks.segmentation.rendering import MaskRendering
from tests.stores import write_store

SIDE = 16


@pytest.mark.parametrize(("first_label", "coloured"), [("background", False), ("wall", True)])
def test_an_overlay_colours_every_class_but_one_named_background(
    first_label: str, *, coloured: bool, tmp_path: Path
) -> None:
    folder = write_store(tmp_path, weights=False) / "tiny-segmenter"
    (folder / "labels.txt").write_text(f"{first_label}\t#ff0000\ncat\t#00ff00\ndog\t#0000ff\n")
    grey = Image.new("RGB", (SIDE, SIDE), (90, 90, 90))
    out = io.BytesIO()
    grey.save(out, "PNG")
    answer = ModelOutput({"mask": np.zeros((8, 8), np.uint8), "class_scores": np.ones(3, np.float32)}, 1, 0.0, 0.0)

    facts = DecodedFacts(SIDE, SIDE, "PNG", "RGB", ())
    card, rendering = cards.read(folder), MaskRendering(overlay="png", segments=False)
    layers = rendering.layers(card, facts, answer)
    overlay = rendering.file(card, facts, answer, Drawn(draw(out.getvalue(), ImageLimits(), layers)))

    with Image.open(io.BytesIO(overlay)) as image:
        assert (image.convert("RGB").getpixel((0, 0)) != (90, 90, 90)) is coloured


def test_an_overlay_leaves_a_black_background_of_any_name_as_it_is(tmp_path: Path) -> None:
    card = cards.read(write_store(tmp_path, weights=False) / "tiny-segmenter")
    names = ("Hintergrund", "Katze", "Hund")
    classes = tuple(label.model_copy(update={"label": name}) for label, name in zip(card.classes, names, strict=True))
    output = ModelOutput({"mask": np.zeros((4, 4), np.uint8)}, 1, 0.0)
    image = Image.new("RGB", (8, 8), (200, 100, 50))

    (layer,) = MaskRendering(overlay="png").layers(
        card.model_copy(update={"classes": classes}), DecodedFacts(8, 8, "PNG", "RGB", ()), output
    )

    with Image.open(io.BytesIO(layer.draw(image))) as overlay:
        assert overlay.convert("RGB").getcolors() == [(64, (200, 100, 50))]
