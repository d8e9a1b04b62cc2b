"""Masks against reference arithmetic: size, indexed PNG, overlay, segments."""

import io
import tracemalloc

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from service.imaging import masks
from service.imaging.masks import VOID, MaskSegment, overlay, png, resize, segments, select_classes

Mask = npt.NDArray[np.uint8]

PALETTE = [(0, 0, 0), (220, 20, 60), (0, 128, 255), (255, 200, 0)]


def mask_of(classes: int, height: int = 48, width: int = 64) -> Mask:
    """Return a mask of blocks of 4 x 4 pixels, so that it compresses like a real one."""
    small = np.random.default_rng(classes).integers(0, classes, (height // 4, width // 4), np.uint8)
    return small.repeat(4, 0).repeat(4, 1)


MASKS = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=20), elements=st.integers(0, 3))


# Size ------------------------------------------------------------------------------------------------------------


@given(MASKS, st.integers(1, 40), st.integers(1, 40))
def test_a_mask_is_fitted_by_the_nearest_pixel(mask: Mask, width: int, height: int) -> None:
    resized = resize(mask, width, height)
    # The pixel under the centre of each pixel. On the border of two, Pillow's arithmetic decides.
    rows, columns = ((np.arange(to) + 0.5) * of / to for to, of in ((height, mask.shape[0]), (width, mask.shape[1])))
    nearest = [
        mask[np.ix_(np.floor(rows + down).astype(int), np.floor(columns + right).astype(int))]
        for down in (-1e-6, 1e-6)
        for right in (-1e-6, 1e-6)
    ]
    assert resized.shape == (height, width)
    assert np.logical_or.reduce([resized == each for each in nearest]).all()
    assert set(np.unique(resized)) <= set(np.unique(mask))


@given(MASKS, st.integers(1, 40), st.integers(1, 40))
def test_a_fitted_mask_is_what_pillow_makes_of_it(mask: Mask, width: int, height: int) -> None:
    resized = Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST)

    np.testing.assert_array_equal(resize(mask, width, height), np.asarray(resized))


def test_a_mask_of_the_right_size_stays_as_it_is() -> None:
    mask = mask_of(4)
    np.testing.assert_array_equal(resize(mask, 64, 48), mask)


# Indexed PNG -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [1, 2, 3, 4, 5, 16, 17, 150, 255])
def test_a_pixel_of_the_png_is_the_class_and_the_palette_the_legend(classes: int) -> None:
    mask = mask_of(classes)
    palette = [(i, 255 - i, i // 2) for i in range(classes)]
    image = Image.open(io.BytesIO(png(mask, palette)))
    assert (image.mode, image.format, image.size) == ("P", "PNG", (64, 48))
    np.testing.assert_array_equal(np.asarray(image), mask)
    assert (image.getpalette() or [])[: 3 * classes] == [level for colour in palette for level in colour]
    np.testing.assert_array_equal(np.asarray(image.convert("RGB")), np.array(palette, np.uint8)[mask])


@pytest.mark.parametrize(("classes", "bits"), [(2, 1), (4, 2), (16, 4), (17, 8)])
def test_a_png_takes_no_more_bits_than_its_classes_need(classes: int, bits: int) -> None:
    assert png(mask_of(classes), [(i, i, i) for i in range(classes)])[24] == bits


def test_the_same_mask_gives_the_same_bytes() -> None:
    assert png(mask_of(4), PALETTE) == png(mask_of(4).copy(order="F"), PALETTE)


def test_a_class_without_a_colour_is_refused() -> None:
    with pytest.raises(ValueError, match="class 3 has no colour among 3"):
        png(mask_of(4), PALETTE[:3])
    with pytest.raises(ValueError, match="class 3 has no colour among 3"):
        png(select_classes(mask_of(4), {1, 3}), PALETTE[:3])
    with pytest.raises(ValueError, match="class 3 has no colour among 3"):
        overlay(Image.new("RGB", (64, 48)), mask_of(4), PALETTE[:3])


# Overlay ---------------------------------------------------------------------------------------------------------


def photo(width: int = 64, height: int = 48) -> Image.Image:
    return Image.fromarray(np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8))


@pytest.mark.parametrize("alpha", [0.0, 0.25, 0.5, 1.0])
@pytest.mark.parametrize("clear", [frozenset(), frozenset({0}), frozenset({1, 3})])
def test_the_overlay_is_a_blend_of_the_picture_and_the_colours(alpha: float, clear: frozenset[int]) -> None:
    mask, picture = mask_of(4), photo()
    image = Image.open(io.BytesIO(overlay(picture, mask, PALETTE, alpha=alpha, clear=clear)))
    pixels = np.asarray(picture).astype(float)
    blended = (1 - alpha) * pixels + alpha * np.array(PALETTE)[mask]
    expected = np.where(np.isin(mask, list(clear))[..., None], pixels, blended)
    assert (image.mode, image.format) == ("RGB", "PNG")
    assert np.abs(np.asarray(image) - expected).max() <= 1


def test_every_class_is_coloured_unless_asked_otherwise() -> None:
    picture = photo()
    mask = np.zeros((48, 64), np.uint8)
    plain = Image.open(io.BytesIO(overlay(picture, mask, PALETTE)))
    clear = Image.open(io.BytesIO(overlay(picture, mask, PALETTE, clear={0})))
    assert (np.asarray(plain) != np.asarray(picture)).any()
    np.testing.assert_array_equal(np.asarray(clear), np.asarray(picture))


def test_the_picture_itself_is_left_as_it_was() -> None:
    picture = photo()
    overlay(picture, mask_of(4), PALETTE)
    np.testing.assert_array_equal(np.asarray(picture), np.asarray(photo()))


def test_a_mask_of_another_scale_is_brought_to_the_pictures_size() -> None:
    mask, picture = mask_of(4), photo(160, 120)
    assert overlay(picture, mask, PALETTE) == overlay(picture, resize(mask, 160, 120), PALETTE)


def test_bands_leave_no_seam() -> None:
    mask, picture = mask_of(4, 600, 1_000), photo(1_000, 600)
    assert mask.size > 2 * masks.BAND_PIXELS
    image = Image.open(io.BytesIO(overlay(picture, mask, PALETTE, clear=())))
    blended = (np.asarray(picture).astype(float) + np.array(PALETTE)[mask]) / 2
    assert np.abs(np.asarray(image) - blended).max() <= 1


# Regions ---------------------------------------------------------------------------------------------------------


def slow_segments(mask: Mask, scores: list[float]) -> list[MaskSegment]:
    """Return the segments, with one pass over the whole mask for each class."""
    found = []
    for class_id in np.unique(mask).tolist():
        rows, columns = np.nonzero(mask == class_id)
        box = (columns.min(), rows.min(), columns.max() - columns.min() + 1, rows.max() - rows.min() + 1)
        share = len(rows) / mask.size
        found.append(MaskSegment(class_id, len(rows), share, tuple(int(side) for side in box), scores[class_id]))  # type: ignore[arg-type]
    return sorted(found, key=lambda segment: (-segment.pixels, segment.class_id))


SCORES = [0.5, 0.25, 0.125, 1.0]


@given(MASKS)
def test_the_figures_are_those_of_a_look_at_every_class(mask: Mask) -> None:
    assert segments(mask, SCORES) == slow_segments(mask, SCORES)


@pytest.mark.parametrize("shape", [(4_000, 200), (200, 4_000), (3, 400_000), (400_000, 3), (1, 600_000), (600_000, 1)])
def test_figures_of_many_bands_are_put_together(shape: tuple[int, int]) -> None:
    mask = np.random.default_rng(0).choice(4, shape, p=[0.9, 0.09, 0.00999, 0.00001]).astype(np.uint8)
    assert mask.size > 2 * masks.BAND_PIXELS
    assert segments(mask, SCORES) == slow_segments(mask, SCORES)
    assert segments(np.asfortranarray(mask), SCORES) == slow_segments(mask, SCORES)


def test_the_figures_of_a_known_mask() -> None:
    mask = np.zeros((10, 20), np.uint8)
    mask[2:5, 3:13] = 2
    mask[9, 19] = 254
    assert segments(mask, np.linspace(0, 1, 256, dtype=np.float32)) == [
        MaskSegment(0, 169, 0.845, (0, 0, 20, 10), 0.0),
        MaskSegment(2, 30, 0.15, (3, 2, 10, 3), float(np.float32(2 / 255))),
        MaskSegment(254, 1, 0.005, (19, 9, 1, 1), float(np.float32(254 / 255))),
    ]


def test_classes_of_as_many_pixels_come_in_the_order_of_their_ids() -> None:
    assert [segment.class_id for segment in segments(np.array([[3, 1], [2, 0]], np.uint8), [0.0] * 4)] == [0, 1, 2, 3]


def test_the_figures_are_plain_numbers() -> None:
    (segment,) = segments(np.zeros((2, 2), np.uint8), np.zeros(1, np.float32))
    plain = (segment.class_id, segment.pixels, *segment.bbox)
    assert {type(number) for number in plain} == {int}
    assert {type(segment.share), type(segment.score)} == {float}


@pytest.mark.parametrize("noisy", [False, True], ids=["blocks", "noise"])
def test_the_figures_of_a_large_mask_take_little_memory(*, noisy: bool) -> None:
    mask = mask_of(150, 3_000, 4_000)
    if noisy:
        mask = np.random.default_rng(0).integers(0, 150, (3_000, 4_000), np.uint8)
    tracemalloc.start()
    try:
        found = segments(mask, [0.0] * 150)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sum(segment.pixels for segment in found) == mask.size
    assert peak < 40e6  # eight bytes for each pixel of the mask alone would be 96 MB


# Requested classes -------------------------------------------------------------------------------------------------


def test_only_the_classes_asked_for_are_kept() -> None:
    mask = mask_of(4)
    selected = select_classes(mask, {1, 3})
    np.testing.assert_array_equal(selected, np.where(np.isin(mask, [1, 3]), mask, VOID))
    assert segments(selected, SCORES) == [each for each in segments(mask, SCORES) if each.class_id in {1, 3}]


def test_what_was_not_asked_for_is_transparent_in_the_png_and_clear_in_the_overlay() -> None:
    mask, picture = select_classes(mask_of(4), {2}), photo()
    image = Image.open(io.BytesIO(png(mask, PALETTE)))
    np.testing.assert_array_equal(np.asarray(image), mask)
    np.testing.assert_array_equal(np.asarray(image.convert("RGBA"))[..., 3], np.where(mask == 2, 255, 0))
    blended = np.asarray(Image.open(io.BytesIO(overlay(picture, mask, PALETTE))))
    np.testing.assert_array_equal(blended[mask == VOID], np.asarray(picture)[mask == VOID])


def test_an_overlay_can_be_a_webp() -> None:
    picture, mask = Image.linear_gradient("L").convert("RGB"), np.zeros((256, 256), np.uint8)
    exact, webp = (Image.open(io.BytesIO(overlay(picture, mask, PALETTE, kind=kind))) for kind in ("PNG", "WEBP"))
    assert (webp.format, webp.size, webp.mode) == ("WEBP", (256, 256), "RGB")
    assert np.abs(np.asarray(webp).astype(float) - np.asarray(exact)).mean() < 2
