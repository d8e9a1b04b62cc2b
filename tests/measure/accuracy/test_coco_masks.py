"""The masks of COCO's annotations against pycocotools."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from service.measure.accuracy import coco_masks
from service.models.cards import CardError

HEIGHT, WIDTH = 40, 60
COORDINATES = st.lists(st.floats(-10, 70, width=32), min_size=6, max_size=24).filter(lambda each: len(each) % 2 == 0)


@given(COORDINATES)
def test_a_polygon_has_the_pixels_that_pycocotools_gives_it(corners: list[float]) -> None:
    expected = coco_mask.decode(coco_mask.frPyObjects([corners], HEIGHT, WIDTH))[:, :, 0]

    assert np.array_equal(coco_masks.polygon(corners, HEIGHT, WIDTH), expected == 1)


def test_several_polygons_are_one_mask() -> None:
    parts = [[2.5, 3.5, 20.2, 4.0, 10.0, 30.3], [15.0, 10.0, 50.0, 12.0, 40.5, 39.9, 18.0, 35.0]]
    expected = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(parts, HEIGHT, WIDTH)))

    assert np.array_equal(coco_masks.draw(parts, HEIGHT, WIDTH), expected == 1)


def test_run_lengths_are_read_in_both_forms() -> None:
    mask = np.random.default_rng(0).random((HEIGHT, WIDTH)) < 0.1
    compressed = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
    changes = np.flatnonzero(np.diff(mask.T.ravel().astype(np.int8), prepend=0)).tolist()
    plain = np.diff([0, *changes, HEIGHT * WIDTH]).tolist()

    for counts in (compressed, plain):
        found = coco_masks.draw({"size": [HEIGHT, WIDTH], "counts": counts}, HEIGHT, WIDTH)
        assert np.array_equal(found, mask)


@pytest.mark.parametrize(
    "segmentation",
    [
        [[1.0, 2.0, 3.0]],
        [["a", "b"]],
        {"size": [WIDTH, HEIGHT], "counts": [WIDTH * HEIGHT]},
        {"size": [HEIGHT, WIDTH], "counts": [7]},
        {"size": [HEIGHT, WIDTH]},
        {"size": [HEIGHT, WIDTH], "counts": "~"},
        7,
    ],
)
def test_what_is_no_mask_of_the_image_is_refused(segmentation: object) -> None:
    with pytest.raises(CardError, match="the segmentation of an annotation cannot be read: "):
        coco_masks.draw(segmentation, HEIGHT, WIDTH)
