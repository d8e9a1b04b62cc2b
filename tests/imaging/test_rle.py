"""Run lengths against pycocotools, which reads them."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco

from service.imaging import masks
from service.imaging.rle import draw, encode, lengths

Mask = npt.NDArray[np.uint8]

MASKS = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=20), elements=st.integers(0, 3))


def check(mask: Mask) -> None:
    found = encode(mask)
    assert set(found) == set(np.unique(mask).tolist()) - {masks.VOID}
    for class_id, counts in found.items():
        theirs = coco.encode(np.asfortranarray(mask == class_id).astype(np.uint8))
        assert counts == theirs["counts"].decode()
        assert np.array_equal(coco.decode({"size": list(mask.shape), "counts": counts}), mask == class_id)


@given(MASKS)
def test_pycocotools_reads_each_class_and_writes_the_same(mask: Mask) -> None:
    check(mask)


@pytest.mark.parametrize("shape", [(700, 900), (1, 600_000), (600_000, 1), (3, 100_000)])
def test_runs_of_any_length_and_of_many_bands_are_written(shape: tuple[int, int]) -> None:
    mask = np.random.default_rng(0).choice(4, shape, p=[0.9, 0.09, 0.00999, 0.00001]).astype(np.uint8)
    assert mask.size > 1.1 * masks.BAND_PIXELS
    check(mask)


def test_pixels_whose_class_was_not_asked_for_are_left_out() -> None:
    check(masks.select_classes(np.random.default_rng(0).integers(0, 4, (30, 40), np.uint8), {1, 3}))


@given(MASKS)
def test_a_written_string_is_read_again(mask: Mask) -> None:
    for class_id, counts in encode(mask).items():
        assert np.array_equal(draw(lengths(counts), *mask.shape), mask == class_id)


def test_strings_of_pycocotools_are_read() -> None:
    random = np.random.default_rng(3)
    for shape in ((300, 400), (1, 90_000), (7, 5)):
        mask = (random.random(shape) < 0.001).astype(np.uint8)
        written = coco.encode(np.asfortranarray(mask))["counts"].decode()
        assert np.array_equal(draw(lengths(written), *shape), mask == 1)


@pytest.mark.parametrize("counts", ["", "a", "0~", "é"])
def test_what_is_no_string_of_run_lengths_is_refused(counts: str) -> None:
    with pytest.raises(ValueError, match=r"run lengths|ascii"):
        draw(lengths(counts), 3, 4)


def test_run_lengths_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match="not those of a mask of 5 x 4"):
        draw(np.array([3, 9]), 4, 5)
