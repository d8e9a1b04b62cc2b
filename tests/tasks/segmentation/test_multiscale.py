"""The sizes and windows of the passes over an image for the best mask."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.models.inputs import Input, Multiscale
from service.tasks.segmentation import multiscale
from service.tasks.segmentation.multiscale import View

AUTHORS = Input(profile="proportional", size=520, multiple=8)
SIDES = st.integers(1, 3000)


def grid(length: int, crop: int) -> list[int]:
    """Return the starts of MultiEvalModule's windows along one side of an image, padded to at least one window."""
    stride = int(crop * 2 / 3)
    return [index * stride for index in range(math.ceil((max(length, crop) - crop) / stride) + 1)]


def test_the_authors_networks_see_windows_of_480_at_six_scales() -> None:
    found = multiscale.views(AUTHORS, Multiscale(), 390, 520)
    sides = [(195, 260), (293, 390), (390, 520), (488, 650), (585, 780), (683, 910)]
    assert multiscale.window(AUTHORS, Multiscale()) == 480
    assert [(view.height, view.width) for view in found] == sides
    assert [len(view.corners) for view in found] == [1, 1, 2, 4, 4, 6]
    assert found[5].corners == tuple((top, left) for top in (0, 320) for left in (0, 320, 640))


@given(SIDES, SIDES, st.sampled_from([(520, None, None), (2048, 512, 512), (2048, 1024, 1024), (64, None, None)]))
def test_the_windows_are_multi_eval_modules(height: int, width: int, sizes: tuple[int, int | None, int | None]) -> None:
    size, short, side = sizes
    spec, best = Input(profile="proportional", size=size, short=short), Multiscale(window=side)
    crop = multiscale.window(spec, best)
    single = size if short is None else min(size, short * max(height, width) / min(height, width))
    for scale, view in zip(best.scales, multiscale.views(spec, best, height, width), strict=True):
        assert max(view.height, view.width) == math.ceil(single * scale)
        assert view.corners == tuple((top, left) for top in grid(view.height, crop) for left in grid(view.width, crop))


def test_a_small_picture_is_one_window_at_every_small_scale() -> None:
    spec = Input(profile="proportional", size=64)
    assert multiscale.views(spec, Multiscale(scales=(0.5,)), 10, 20) == [View(16, 32, ((0, 0),))]


def test_a_card_may_have_scales_and_windows_of_its_own() -> None:
    spec, best = Input(profile="proportional", size=100), Multiscale(scales=(1.0, 2.0), window=60)
    assert [len(view.corners) for view in multiscale.views(spec, best, 100, 100)] == [4, 25]


def test_the_cost_is_of_all_windows_twice_beside_one_pass_over_a_square() -> None:
    windows = 1 + 1 + 4 + 4 + 4 + 9
    assert multiscale.cost(AUTHORS, Multiscale()) == pytest.approx(2 * windows * 480**2 / 520**2)
