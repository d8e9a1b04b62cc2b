"""The jobs of decode processes: the inputs of networks, and layers drawn over an image."""

import io
from functools import partial

import numpy as np
from PIL import Image

from service.imaging import decoder, preprocess
from service.imaging.drawing import heatmap
from service.models.cards import ModelCard
from service.models.inputs import Input
from service.tasks.base import Layer
from service.tasks.decode_jobs import draw, prepare
from tests.gateway.fixtures.images import image_bytes, rotated_jpeg


def test_a_picture_gives_each_model_the_pixels_it_gets_when_asked_alone(served: dict[str, ModelCard]) -> None:
    specs = [card.input for card in served.values()]
    specs.append(Input(profile="official", size=224))
    content = image_bytes(size=(1600, 1200), kind="JPEG")

    facts, inputs = prepare(content, decoder.ImageLimits(), specs)

    assert (facts.width, facts.height, facts.format) == (1600, 1200, "JPEG")
    for spec, pixels in zip(specs, inputs, strict=True):
        alone = decoder.decode(content, decoder.ImageLimits(), needed=preprocess.needed_side(spec))
        assert np.array_equal(pixels, preprocess.prepare(spec, alone.image))


def test_layers_are_drawn_over_the_whole_upright_picture() -> None:
    layer = partial(heatmap.overlay, values=np.eye(2, dtype=np.float32), window=(0, 0, 300, 400))

    png, webp = draw(
        rotated_jpeg((400, 300)), decoder.ImageLimits(), [Layer(layer), Layer(partial(layer, kind="WEBP"))]
    )

    assert [(image.size, image.format) for image in map(Image.open, (io.BytesIO(png), io.BytesIO(webp)))] == [
        ((300, 400), "PNG"),
        ((300, 400), "WEBP"),
    ]
