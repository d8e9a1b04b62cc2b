"""The shades in which several detections of a class are drawn."""

import colorsys
from itertools import pairwise
from pathlib import Path

import pytest

from service.imaging.drawing.instance_colours import SHADES, instance_colours
from service.imaging.masks import Colour
from service.models import labels

COCO = Path(__file__).parents[3] / "model_store" / "labels" / "coco_80.tsv"
RED, BLACK, WHITE, GREY = (230, 25, 75), (0, 0, 0), (255, 255, 255), (128, 128, 128)
COLOURS = sorted({RED, BLACK, WHITE, GREY, *(label.color for label in labels.read(COCO, table=True))})
TURN = 1 / 24 + 0.01  # of the colour wheel: as far as a shade is from its class, and its rounding


def hue(colour: Colour) -> float:
    return colorsys.rgb_to_hls(*(level / 255 for level in colour))[0]


def lightness(colour: Colour) -> float:
    return (max(colour) + min(colour)) / 2 / 255


def test_the_first_of_each_class_has_the_colour_of_the_class() -> None:
    assert instance_colours([RED, BLACK, RED])[:2] == [RED, BLACK]


@pytest.mark.parametrize("colour", COLOURS)
def test_as_many_detections_as_an_image_can_have_differ(colour: Colour) -> None:
    assert len(set(instance_colours([colour] * SHADES))) == SHADES


@pytest.mark.parametrize("colour", COLOURS)
def test_successive_detections_of_a_class_are_told_apart(colour: Colour) -> None:
    shades = instance_colours([colour] * 8)
    # In a mask over the image a quarter of this difference is left, which is about ten levels.
    assert all(abs(lightness(one) - lightness(other)) >= 0.1 for one, other in pairwise(shades))
    distances = (max(map(abs, map(int.__sub__, one, other))) for one in shades for other in shades if one is not other)
    assert min(distances) >= 16


@pytest.mark.parametrize("colour", [each for each in COLOURS if len(set(each)) > 1])
def test_a_shade_keeps_the_hue_of_its_class(colour: Colour) -> None:
    for shade in instance_colours([colour] * 100):
        turned = abs(hue(shade) - hue(colour))
        assert min(turned, 1 - turned) <= TURN


def test_a_colour_does_not_depend_on_the_detections_after_it() -> None:
    assert instance_colours([RED, GREY, RED, RED])[:3] == instance_colours([RED, GREY, RED])
