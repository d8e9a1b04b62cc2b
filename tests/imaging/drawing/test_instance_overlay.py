"""Boxes, labels and masks over an image."""

import io

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageFont

from service.imaging.drawing.instance_overlay import ALPHA, DrawnInstance, drawable, overlay

GREY = (128, 128, 128)
RED, YELLOW = (230, 25, 75), (255, 225, 25)
FULL = np.full((28, 28), 255, np.uint8)


def drawn(*instances: DrawnInstance, size: tuple[int, int] = (200, 160), kind: str = "PNG") -> npt.NDArray[np.uint8]:
    with Image.open(io.BytesIO(overlay(Image.new("RGB", size, GREY), instances, kind))) as image:
        assert image.size == size
        assert image.format == kind
        return np.asarray(image.convert("RGB"))


def test_nothing_found_leaves_the_image_as_it_is() -> None:
    assert (drawn() == GREY).all()


def test_a_mask_tints_its_pixels_and_no_others() -> None:
    pixels = drawn(DrawnInstance((40.0, 60.0, 120.0, 140.0), "cat 0.98", RED, FULL))
    expected = np.array(GREY) + ALPHA * (np.array(RED) - GREY)
    np.testing.assert_allclose(pixels[100, 80], expected, atol=2)
    assert (pixels[:, 130:] == GREY).all()


def test_a_box_has_its_colour_inside_a_line_of_contrast() -> None:
    pixels = drawn(DrawnInstance((40.0, 60.0, 120.0, 140.0), "cat 0.98", RED))
    assert tuple(pixels[100, 40]) == (255, 255, 255)
    assert tuple(pixels[100, 41]) == RED
    assert tuple(pixels[100, 80]) == GREY


@pytest.mark.parametrize(("colour", "ink"), [(RED, 255), (YELLOW, 0)])
def test_a_text_is_legible_on_its_colour(colour: tuple[int, int, int], ink: int) -> None:
    pixels = drawn(DrawnInstance((40.0, 60.0, 160.0, 140.0), "cat 0.98", colour))
    above = pixels[44:59, 40:100].reshape(-1, 3)
    assert (above == colour).all(axis=1).sum() > 100
    assert (np.abs(above.astype(int) - ink).max(axis=1) < 60).sum() > 15


@pytest.mark.parametrize(
    ("label", "text"),
    [
        ("cat", "cat"),
        ("Löwe", "Lowe"),
        ("ñandú", "nandu"),
        ("teddy bear", "teddy bear"),
        ("猫", "#7"),
        ("кот", "#7"),
        ("Straße", "#7"),
    ],
)
def test_a_label_is_drawn_in_letters_that_the_font_has(label: str, text: str) -> None:
    assert drawable(label, 7) == text
    font, missing = ImageFont.load_default(20), "\U0010ffff"
    assert not {bytes(font.getmask(each)) for each in text} & {bytes(font.getmask(missing))}


def test_a_text_stays_in_the_image() -> None:
    top = drawn(DrawnInstance((150.0, 0.0, 199.0, 50.0), "a long label 0.98", RED))
    assert (top[1, 100:150] == RED).all(axis=1).any()  # it begins left of its box, whose right part has no room for it


def test_the_first_detection_is_on_top() -> None:
    first, second = (DrawnInstance((40.0, 60.0, 120.0, 140.0), "", colour) for colour in (RED, YELLOW))
    assert tuple(drawn(first, second)[100, 41]) == RED


@pytest.mark.parametrize("box", [(5.0, 5.0, 5.2, 5.2), (-10.0, -10.0, 500.0, 500.0), (199.5, 159.5, 200.0, 160.0)])
def test_a_box_of_any_size_can_be_drawn(box: tuple[float, float, float, float]) -> None:
    drawn(DrawnInstance(box, "cat", RED, FULL))
    drawn(DrawnInstance(box, "cat", RED, FULL), size=(1, 1))


def test_the_overlay_may_be_a_webp() -> None:
    drawn(DrawnInstance((40.0, 60.0, 120.0, 140.0), "cat 0.98", RED, FULL), kind="WEBP")
