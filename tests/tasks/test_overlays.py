"""The formats of overlays."""

import pytest

from service.errors import ImageTooLarge
from service.tasks.base import DecodedFacts
from service.tasks.overlays import OVERLAYS, WEBP_SIDE, check_webp


def facts(width: int, height: int) -> DecodedFacts:
    return DecodedFacts(width, height, "PNG", "RGB", ())


def test_true_stands_for_png() -> None:
    assert OVERLAYS == {"false": None, "true": "png", "png": "png", "webp": "webp"}


@pytest.mark.parametrize("size", [(WEBP_SIDE + 1, 10), (10, WEBP_SIDE + 1)])
def test_an_image_too_large_for_webp_is_refused_for_webp_alone(size: tuple[int, int]) -> None:
    with pytest.raises(ImageTooLarge) as caught:
        check_webp("webp", facts(*size))

    assert (caught.value.problem()["limit"], caught.value.problem()["actual"]) == (16_383, 16_384)
    check_webp("png", facts(*size))
    check_webp(None, facts(*size))


def test_the_largest_side_of_webp_is_accepted() -> None:
    check_webp("webp", facts(WEBP_SIDE, WEBP_SIDE))
