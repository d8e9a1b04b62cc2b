"""Preprocessing gives the same bits as the authors' code, which is repeated here with Pillow alone.

That holds for `resizer = "pillow"`. With the default, `simd`, levels differ by at most `ROUNDING`.
"""

import math
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from service.imaging.preprocess import MAX_RESIZED_PIXELS, largest_bytes, needed_side, prepare, window
from service.models.inputs import Input

Interpolation = Literal["bilinear", "bicubic"]

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}

ROUNDING = 3  # levels of 255: two roundings to 8 bits, the first one filtered again; most differences are 1

SIDES = st.integers(1, 500)
SIZES = st.integers(32, 256)
INTERPOLATIONS = st.sampled_from(["bilinear", "bicubic"])


def noise(width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(width * 10_007 + height).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(pixels)


def assert_prepared(spec: Input, image: Image.Image, expected: Image.Image) -> None:
    by_pillow = prepare(spec.model_copy(update={"resizer": "pillow"}), image)
    np.testing.assert_array_equal(by_pillow, np.asarray(expected))
    assert np.abs(prepare(spec, image) - by_pillow.astype(int)).max() <= ROUNDING


def centre_crop_of_the_authors(image: Image.Image, size: int, interpolation: Interpolation) -> Image.Image:
    """ECenterCrop, as in scripts/torch/verify.py of zhanghang1989/ResNeSt: the crop's box has floats in it."""
    image_width, image_height = image.size
    crop_size = float(size) / (size + 32) * min(image_width, image_height)
    crop_top = int(round((image_height - crop_size) / 2.0))  # noqa: RUF046 - as in the original
    crop_left = int(round((image_width - crop_size) / 2.0))  # noqa: RUF046
    crop = image.crop((crop_left, crop_top, crop_left + crop_size, crop_top + crop_size))
    return crop.resize((size, size), FILTERS[interpolation])


def resize_then_centre_crop(image: Image.Image, size: int, ratio: float, interpolation: Interpolation) -> Image.Image:
    """Resize and CenterCrop of torchvision 0.2x, as timm combines them: on a PIL image, antialiased."""
    scale = math.floor(size / ratio)
    width, height = image.size
    short, long = (width, height) if width <= height else (height, width)
    new_short, new_long = scale, int(scale * long / short)
    resized = image.resize((new_short, new_long) if width <= height else (new_long, new_short), FILTERS[interpolation])
    crop_top = int(round((resized.height - size) / 2.0))  # noqa: RUF046 - as in the original
    crop_left = int(round((resized.width - size) / 2.0))  # noqa: RUF046
    return resized.crop((crop_left, crop_top, crop_left + size, crop_top + size))


def long_side(image: Image.Image, size: int, interpolation: Interpolation) -> Image.Image:
    """MultiEvalModule of PyTorch-Encoding at scale 1."""
    w, h = image.size
    if h > w:
        height, width = size, int(1.0 * w * size / h + 0.5)
    else:
        width, height = size, int(1.0 * h * size / w + 0.5)
    return image.resize((max(width, 1), max(height, 1)), FILTERS[interpolation])


@settings(deadline=None, max_examples=200)
@given(SIDES.filter(lambda side: side > 1), SIDES.filter(lambda side: side > 1), SIZES, INTERPOLATIONS)
def test_the_official_profile_is_the_authors_centre_crop(
    width: int, height: int, size: int, interpolation: Interpolation
) -> None:
    spec = Input(profile="official", size=size, interpolation=interpolation)
    image = noise(width, height)
    assert_prepared(spec, image, centre_crop_of_the_authors(image, size, interpolation))


@pytest.mark.parametrize("size", [224, 256, 320, 416])
@pytest.mark.parametrize("shape", [(500, 375), (375, 500), (640, 480), (1200, 1200), (333, 251), (100, 90)])
def test_the_published_sizes_are_cropped_as_the_authors_do(size: int, shape: tuple[int, int]) -> None:
    image = noise(*shape)
    assert_prepared(Input(profile="official", size=size), image, centre_crop_of_the_authors(image, size, "bicubic"))


def test_the_official_crop_of_a_known_picture_has_these_edges() -> None:
    image = Image.new("RGB", (500, 375))
    side = 224 / 256 * 375  # 328.125, so from 86 to 414.125 and from 23 to 351.125
    image.paste("white", (86, 23, 414, 351))
    assert side == 328.125
    assert prepare(Input(profile="official", size=224), image).min() == 255
    image.paste("black", (86, 23, 87, 24))
    assert prepare(Input(profile="official", size=224), image)[0, 0].max() < 255


@settings(deadline=None, max_examples=200)
@given(SIDES, SIDES, SIZES, st.sampled_from([0.875, 0.909, 0.928, 0.95, 1.0]), INTERPOLATIONS)
def test_the_timm_profile_is_resize_then_centre_crop(
    width: int, height: int, size: int, ratio: float, interpolation: Interpolation
) -> None:
    if max(width, height) > 20 * min(width, height):
        width = height
    spec = Input(profile="timm", size=size, crop_ratio=ratio, interpolation=interpolation)
    image = noise(width, height)
    assert_prepared(spec, image, resize_then_centre_crop(image, size, ratio, interpolation))


@pytest.mark.parametrize(
    ("size", "ratio", "resized"), [(224, 0.875, 256), (256, 0.875, 292), (320, 0.909, 352), (416, 0.928, 448)]
)
def test_timms_published_crop_ratios_give_their_short_sides(size: int, ratio: float, resized: int) -> None:
    assert needed_side(Input(profile="timm", size=size, crop_ratio=ratio)) == resized


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    ("shape", "short", "sides"),
    [
        ((2048, 1024), 1024, (2048, 1024)),  # Cityscapes, unchanged
        ((1024, 512), 1024, (2048, 1024)),
        ((1600, 1200), 1024, (1365, 1024)),
        ((683, 512), 512, (683, 512)),  # ADE20K, unchanged
        ((800, 600), 512, (683, 512)),
        ((8000, 600), 512, (2048, 154)),  # the long side limits
        ((300, 300), 512, (512, 512)),
    ],
)
def test_a_segmentation_input_with_a_bound_for_its_short_side_fits_into_the_box(
    shape: tuple[int, int], short: int, sides: tuple[int, int], *, turned: bool
) -> None:
    """The sizes that mmcv's `rescale_size` gives for a scale of (2048, short)."""
    if turned:
        shape, sides = (shape[1], shape[0]), (sides[1], sides[0])
    spec = Input(profile="proportional", size=2048, short=short, interpolation="bilinear")
    image = noise(*shape)
    assert needed_side(spec) == short
    assert_prepared(spec, image, image.resize(sides, FILTERS["bilinear"]))


@pytest.mark.parametrize(
    ("shape", "sides"),
    [((640, 480), (640, 480)), ((2048, 9), (2048, 9)), ((4096, 3000), (2048, 1500)), ((9, 4097), (4, 2048))],
)
def test_the_whole_profile_leaves_a_picture_as_it_is_or_makes_it_fit(
    shape: tuple[int, int], sides: tuple[int, int]
) -> None:
    spec = Input(profile="whole", size=2048, interpolation="bilinear")
    image = noise(*shape)
    assert_prepared(spec, image, image if shape == sides else image.resize(sides, FILTERS["bilinear"]))
    assert needed_side(spec) == 2048


@pytest.mark.parametrize("resizer", ["simd", "pillow"])
@pytest.mark.parametrize("shape", [(16_384, 200), (200, 16_384)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_of_a_thin_picture_timms_profile_computes_only_what_is_kept(
    shape: tuple[int, int], interpolation: Interpolation, resizer: Literal["simd", "pillow"]
) -> None:
    size, ratio = 416, 0.875
    assert (size / ratio) ** 2 * 16_384 / 200 > MAX_RESIZED_PIXELS
    # Without black and white, where bicubic overshoots and the result between rows and columns is clipped.
    image = noise(*shape).point(lambda level: 64 + level // 2)
    expected = np.asarray(resize_then_centre_crop(image, size, ratio, interpolation)).astype(int)
    spec = Input(profile="timm", size=size, interpolation=interpolation, resizer=resizer)
    assert np.abs(prepare(spec, image) - expected).max() <= ROUNDING


@settings(deadline=None, max_examples=200)
@given(SIDES, SIDES, st.integers(32, 520), INTERPOLATIONS)
def test_the_segmentation_profile_has_the_authors_long_side(
    width: int, height: int, size: int, interpolation: Interpolation
) -> None:
    spec = Input(profile="proportional", size=size, interpolation=interpolation)
    image = noise(width, height)
    assert_prepared(spec, image, long_side(image, size, interpolation))


@pytest.mark.parametrize(
    ("shape", "multiple", "expected"),
    [
        ((640, 480), 1, (360, 480)),
        ((640, 480), 32, (352, 480)),
        ((480, 640), 32, (480, 352)),
        ((500, 375), 8, (360, 480)),
        ((1000, 10), 8, (8, 480)),
        ((1000, 10), 1, (5, 480)),
        ((1000, 1), 1, (1, 480)),
        ((1000, 1000), 64, (512, 512)),
        ((7, 7), 32, (480, 480)),
    ],
)
def test_both_sides_go_to_the_nearest_multiple(
    shape: tuple[int, int], multiple: int, expected: tuple[int, int]
) -> None:
    spec = Input(profile="proportional", size=480, multiple=multiple)
    assert prepare(spec, Image.new("RGB", shape)).shape == (*expected, 3)


@pytest.mark.parametrize(("profile", "needed"), [("official", 256), ("timm", 256), ("proportional", 224)])
def test_the_short_side_that_is_needed_is_the_one_that_is_not_enlarged(
    profile: Literal["official", "timm", "proportional"], needed: int
) -> None:
    assert needed_side(Input(profile=profile, size=224)) == needed


@pytest.mark.parametrize("profile", ["official", "timm", "proportional"])
@pytest.mark.parametrize("shape", [(1, 1), (2, 1), (1, 16_384), (16_384, 1), (8, 16_384), (16_384, 8)])
def test_no_shape_is_too_thin_or_too_small(
    profile: Literal["official", "timm", "proportional"], shape: tuple[int, int]
) -> None:
    prepared = prepare(Input(profile=profile, size=416), Image.new("RGB", shape, "red"))
    assert prepared.dtype == np.uint8
    assert max(prepared.shape[:2]) == 416
    assert (prepared == (255, 0, 0)).all()


@pytest.mark.parametrize("profile", ["official", "timm", "proportional"])
def test_the_pixels_can_be_sent_as_they_lie(profile: Literal["official", "timm", "proportional"]) -> None:
    assert prepare(Input(profile=profile, size=64), noise(90, 70)).flags.c_contiguous


@pytest.mark.parametrize("profile", ["official", "timm", "proportional", "whole"])
@pytest.mark.parametrize("shape", [(90, 70), (70, 90), (300, 299)])
def test_the_input_is_written_to_the_beginning_of_a_given_array(
    profile: Literal["official", "timm", "proportional", "whole"], shape: tuple[int, int]
) -> None:
    spec, image = Input(profile=profile, size=64, multiple=24), noise(*shape)
    alone = prepare(spec, image)
    out = np.full(largest_bytes(spec) + 1, 7, np.uint8)
    written = prepare(spec, image, out)
    np.testing.assert_array_equal(written, alone)
    assert np.shares_memory(written, out)
    assert out[: alone.size].tobytes() == alone.tobytes()
    assert (out[alone.size :] == 7).all()
    with pytest.raises(ValueError, match="needs"):
        prepare(spec, image, out[: alone.size - 1])


@pytest.mark.parametrize("profile", ["official", "timm", "proportional"])
@given(SIDES, SIDES, SIZES)
def test_the_window_is_what_of_the_picture_changes_the_input(
    profile: Literal["official", "timm", "proportional"], width: int, height: int, size: int
) -> None:
    left, top, right, bottom = window(Input(profile=profile, size=size), width, height)
    assert 0 <= left < right <= width + 1
    assert 0 <= top < bottom <= height + 1
    if profile == "proportional":
        assert (left, top, right, bottom) == (0, 0, width, height)


@pytest.mark.parametrize("profile", ["official", "timm"])
def test_what_is_outside_the_window_does_not_reach_the_network(profile: Literal["official", "timm"]) -> None:
    spec = Input(profile=profile, size=64)
    image = noise(600, 400)
    left, top, right, bottom = window(spec, 600, 400)
    other = Image.new("RGB", (600, 400))
    margin = 20  # pixels outside the crop that the filter of a resize before it reads
    box = (left - margin, top - margin, right + margin, bottom + margin)
    other.paste(image.crop(box), box[:2])
    np.testing.assert_array_equal(prepare(spec, other), prepare(spec, image))
    other.paste((0, 0, 0), (left, top, left + margin, bottom))
    assert (prepare(spec, other)[:, :2] != prepare(spec, image)[:, :2]).any()
