"""Both resizers give the same image, except for rounding; Pillow's own arithmetic is the reference."""

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import PIL
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from service.imaging import resizers
from service.imaging.resizers import columns_first, resize
from service.models.inputs import Input
from tests.engines.numerics import EXAMPLE

Interpolation = Literal["bilinear", "bicubic"]

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
INTERPOLATIONS = st.sampled_from(["bilinear", "bicubic"])
SIDES = st.integers(1, 300)


def spec(interpolation: Interpolation = "bicubic", resizer: Literal["simd", "pillow"] = "simd") -> Input:
    return Input(profile="whole", size=224, interpolation=interpolation, resizer=resizer)


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(
        np.random.default_rng(width * 10_007 + height).integers(0, 256, (height, width, 3), np.uint8)
    )


def differences(first: Image.Image, second: Image.Image) -> npt.NDArray[np.int16]:
    return np.abs(np.asarray(first).astype(np.int16) - np.asarray(second).astype(np.int16))


@settings(deadline=None, max_examples=300)
@given(SIDES, SIDES, st.integers(32, 300), st.integers(32, 300), INTERPOLATIONS)
def test_any_image_at_any_size_differs_from_pillows_by_rounding_alone(
    width: int, height: int, wide: int, high: int, interpolation: Interpolation
) -> None:
    image = noise(width, height)
    found = differences(
        resize(spec(interpolation), image, (wide, high)), image.resize((wide, high), FILTERS[interpolation])
    )
    assert found.max() <= 3
    assert found.mean() <= 0.2  # at some ratios, many bilinear sums lie exactly between two levels


@pytest.mark.parametrize("size", [(224, 224), (520, 392), (640, 480), (90, 300), (1200, 900)])
def test_of_a_photograph_one_byte_in_a_hundred_differs_by_one_level(size: tuple[int, int]) -> None:
    with Image.open(EXAMPLE) as opened:
        photo = opened.convert("RGB")
    found = differences(resize(spec(), photo, size), photo.resize(size, Image.Resampling.BICUBIC))
    assert found.max() <= 2
    assert (found > 0).mean() < 0.01


@pytest.mark.skipif(int(PIL.__version__.partition(".")[0]) < 13, reason="Pillow 12 filters rows first")
@settings(deadline=None, max_examples=300)
@given(SIDES, SIDES, SIDES, SIDES)
def test_rows_and_columns_are_filtered_in_pillows_order(width: int, height: int, wide: int, high: int) -> None:
    image = noise(width, height)
    by_rows = image.resize((wide, height)).resize((wide, high))
    by_columns = image.resize((width, high)).resize((wide, high))
    assume(by_rows != by_columns)
    expected = by_columns if columns_first((width, height), (wide, high), (0, 0, width, height)) else by_rows
    assert image.resize((wide, high)) == expected


@pytest.mark.parametrize("box", [(10, 20, 110, 90), (0, 0, 200, 150), (33.25, 7.5, 181.75, 149.9), (0, 0.5, 200, 150)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_a_box_is_resized_with_the_pixels_around_it(
    box: tuple[float, float, float, float], interpolation: Interpolation
) -> None:
    image = noise(200, 150)
    expected = image.resize((64, 48), FILTERS[interpolation], box=box)
    assert differences(resize(spec(interpolation), image, (64, 48), box), expected).max() <= 3


def test_a_box_may_end_outside_of_the_image_by_a_rounding_error() -> None:
    image = noise(200, 150)
    whole = resize(spec(), image, (64, 64))
    assert differences(resize(spec(), image, (64, 64), (0, 0, 200 + 1e-9, 150 + 1e-9)), whole).max() <= 1


@pytest.mark.parametrize("size", [(1, 1), (1, 16_384), (16_384, 1), (8, 16_384), (16_384, 8)])
@pytest.mark.parametrize("target", [(224, 224), (1, 300), (300, 1)])
def test_no_image_is_too_thin(size: tuple[int, int], target: tuple[int, int]) -> None:
    resized = resize(spec(), Image.new("RGB", size, "red"), target)
    assert resized.size == target
    assert (np.asarray(resized) == (255, 0, 0)).all()


@pytest.mark.parametrize("resizer", ["simd", "pillow"])
def test_an_image_of_the_right_size_stays_as_it_is(resizer: Literal["simd", "pillow"]) -> None:
    image = noise(64, 48)
    assert resize(spec(resizer=resizer), image, (64, 48)) == image


def test_without_cykooz_resizer_pillow_resizes(monkeypatch: pytest.MonkeyPatch) -> None:
    image = noise(300, 200)
    assert resizers.name(spec()).startswith("cykooz-resizer ")
    monkeypatch.setattr(resizers, "library", lambda: None)
    assert resizers.name(spec()) == resizers.name(spec(resizer="pillow")) == f"pillow {PIL.__version__}"
    assert resize(spec(), image, (64, 64)) == image.resize((64, 64))


def test_images_may_be_resized_in_several_threads() -> None:
    image = noise(640, 480)
    expected = resize(spec(), image, (224, 224))
    with ThreadPoolExecutor(4) as pool:
        assert all(each == expected for each in pool.map(lambda _: resize(spec(), image, (224, 224)), range(40)))


def test_resizing_uses_the_callers_thread_alone() -> None:
    tasks = Path("/proc/self/task")
    before = {path.name for path in tasks.iterdir()}
    found: list[set[str]] = []

    def resize_large() -> None:
        resize(spec(), noise(3000, 2000), (1024, 1024))
        found.append({path.name for path in tasks.iterdir()} - before)

    thread = threading.Thread(target=resize_large)
    thread.start()
    thread.join(60)
    assert [len(started) for started in found] == [1]  # the thread of this test


def opencvs(pixels: npt.NDArray[np.uint8], width: int, height: int) -> npt.NDArray[np.int64]:
    """Return OpenCV's bilinear interpolation, written out for one pixel at a time, in float64."""
    rows, columns = pixels.shape[:2]
    out = np.empty((height, width, 3))
    for y in range(height):
        for x in range(width):
            down, across = ((y + 0.5) * rows / height - 0.5, (x + 0.5) * columns / width - 0.5)
            down, across = min(max(down, 0), rows - 1), min(max(across, 0), columns - 1)
            top, left = int(down), int(across)
            bottom, right = min(top + 1, rows - 1), min(left + 1, columns - 1)
            first = pixels[top, left] * (1 - (across - left)) + pixels[top, right] * (across - left)
            second = pixels[bottom, left] * (1 - (across - left)) + pixels[bottom, right] * (across - left)
            out[y, x] = first * (1 - (down - top)) + second * (down - top)
    return out.round().astype(np.int64)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 40), st.integers(1, 40))
def test_opencvs_resize_reads_the_four_nearest_pixels_at_every_scale(
    width: int, height: int, wide: int, high: int
) -> None:
    pixels = np.asarray(noise(width, height))
    found = resizers.opencv_linear(pixels, (wide, high))
    assert found.shape == (high, wide, 3)
    assert np.abs(found - opencvs(pixels, wide, high)).max() <= 1


# The SHA-256 of what cv2.resize with INTER_LINEAR (OpenCV 5.0.0) makes of noise: a size, its target, the bytes.
OPENCV_5 = {((64, 48), (20, 15)): "33fe5f1a712af157db00b5d0637f9aa2aa89e46e1a66f8c11572ab46e024f616"}


@pytest.mark.parametrize(("sides", "target"), OPENCV_5, ids=str)
def test_opencvs_resize_gives_its_bytes(sides: tuple[int, int], target: tuple[int, int]) -> None:
    found = resizers.opencv_linear(np.asarray(noise(*sides)), target)
    assert hashlib.sha256(found.tobytes()).hexdigest() == OPENCV_5[sides, target]


def test_a_large_image_is_resized_in_bands_to_the_same_pixels() -> None:
    pixels = np.asarray(noise(600, 500))
    whole = resizers.opencv_linear(pixels, (1300, 400))
    parts = [resizers.opencv_linear(pixels[..., channel, None], (1300, 400)) for channel in range(3)]  # one band each
    np.testing.assert_array_equal(whole, np.concatenate(parts, axis=2))


def test_a_card_may_ask_for_opencvs_resize() -> None:
    wanted = Input(profile="proportional", size=224, interpolation="opencv_linear")
    assert not resizers.uses_simd(wanted)
    assert resizers.name(wanted).startswith("numpy ")
    image = noise(300, 200)
    np.testing.assert_array_equal(
        np.asarray(resize(wanted, image, (40, 30))), resizers.opencv_linear(np.asarray(image), (40, 30))
    )
