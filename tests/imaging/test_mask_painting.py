"""Rendering a mask without its model card."""

import io
from dataclasses import replace

import numpy as np
import orjson
import pytest
from PIL import Image

from service.imaging import masks
from service.imaging import polygons as outlines
from service.imaging import rle as run_lengths
from service.imaging.mask_painting import MaskForm, MaskPlan, Painted, paint

MASK = np.random.default_rng(0).integers(0, 3, (6, 9), dtype=np.uint8)
PALETTE = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
PLAN = MaskPlan(30, 20, MASK, np.array([0.5, 0.25, 1.0], np.float32), PALETTE)


def opened(png: bytes) -> masks.Mask:
    return np.asarray(Image.open(io.BytesIO(png)))


def test_the_figures_are_those_of_the_mask_at_the_pictures_size() -> None:
    assert paint(PLAN) == Painted(masks.segments(masks.resize(MASK, 30, 20), PLAN.scores))


def test_each_form_is_made_of_the_mask_at_the_pictures_size() -> None:
    mask = masks.resize(MASK, 30, 20)
    png, rle, polygons = (paint(replace(PLAN, form=form)) for form in ("png", "rle", "polygons"))

    assert png.files.keys() == {"mask"}
    assert np.array_equal(opened(png.files["mask"]), mask)
    assert rle.run_lengths == run_lengths.encode(mask)
    assert {key: orjson.loads(each) for key, each in polygons.polygons.items()} == outlines.polygons(MASK, 30, 20)


@pytest.mark.parametrize("form", ["png", "rle", "polygons"])
def test_of_some_classes_alone_nothing_else_is_told(form: MaskForm) -> None:
    painted = paint(replace(PLAN, form=form, classes=frozenset({0, 2, 7})))

    shown = masks.resize(masks.select_classes(MASK, {0, 2}), 30, 20)
    assert painted.segments == masks.segments(shown, PLAN.scores)
    if form == "png":
        assert np.array_equal(opened(painted.files["mask"]), shown)
    else:
        assert (painted.run_lengths or painted.polygons).keys() == {0, 2}


def test_the_confidence_is_a_grey_picture_beside_the_mask() -> None:
    painted = paint(replace(PLAN, form="png", confidence=MASK))

    assert painted.files.keys() == {"mask", "confidence"}
    assert np.array_equal(opened(painted.files["confidence"]), masks.resize(MASK, 30, 20))


def test_what_nobody_asked_for_is_not_made() -> None:
    assert paint(replace(PLAN, segments=False)) == Painted()
    assert paint(replace(PLAN, segments=False, form="png")).files == paint(replace(PLAN, form="png")).files
