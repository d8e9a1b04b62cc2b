"""A mask as what was asked for."""

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
    picture = Image.new("RGB", (SIDE, SIDE), (90, 90, 90))
    out = io.BytesIO()
    picture.save(out, "PNG")
    answer = ModelOutput({"mask": np.zeros((8, 8), np.uint8), "class_scores": np.ones(3, np.float32)}, 1, 0.0, 0.0)

    facts = DecodedFacts(SIDE, SIDE, "PNG", "RGB", ())
    card, drawing = cards.read(folder), MaskRendering(overlay="png", regions=False)
    over = drawing.layers(card, facts, answer)
    drawn = drawing.file(card, facts, answer, Drawn(draw(out.getvalue(), ImageLimits(), over)))

    with Image.open(io.BytesIO(drawn)) as image:
        assert (image.convert("RGB").getpixel((0, 0)) != (90, 90, 90)) is coloured
