"""A heat map over an image."""

import io

import numpy as np
import pytest
from PIL import Image

from service.imaging.drawing import heatmap

GREY = Image.new("RGB", (60, 40), (100, 100, 100))


def drawn(values: list[list[float]], window: heatmap.Box = (0, 0, 60, 40), kind: str = "PNG") -> Image.Image:
    return Image.open(io.BytesIO(heatmap.overlay(GREY, np.array(values, np.float32), window, kind)))


def test_the_levels_go_from_the_lowest_to_the_highest() -> None:
    assert heatmap.levels(np.array([[-2.0, 0.0], [1.0, 2.0]])).tolist() == [[0, 128], [191, 255]]
    assert heatmap.levels(np.full((2, 2), 7.0)).tolist() == [[0, 0], [0, 0]]


def test_what_matters_least_is_left_and_what_matters_most_is_bright() -> None:
    pixels = np.asarray(drawn([[0.0, 1.0]])).astype(int)
    assert pixels[20, 0].tolist() == [100, 100, 100]
    assert pixels[20, 59].min() > 200
    assert (np.diff(pixels[20, :, 0]) >= -1)[30:].all()


def test_what_the_network_does_not_see_is_darkened() -> None:
    pixels = np.asarray(drawn([[0.0]], (20, 10, 40, 30)))
    assert pixels[0, 0].tolist() == [35, 35, 35]
    assert pixels[20, 30].tolist() == [100, 100, 100]


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_the_overlay_has_the_pictures_size(kind: str) -> None:
    assert (drawn([[0.0, 1.0]], kind=kind).size, drawn([[0.0]], kind=kind).format) == ((60, 40), kind)
