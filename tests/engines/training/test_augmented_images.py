"""Augmented crops, as a loader takes them."""

import random

import numpy as np
import numpy.typing as npt
from PIL import Image

from service.engines.training.augmented_images import AugmentedImages


def noise(width: int, height: int, seed: int) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def drawn(seed: int, magnitude: int) -> list[tuple[npt.NDArray[np.uint8], int]]:
    images = [noise(60, 40, 1), noise(40, 60, 2), noise(9, 9, 3)]
    dataset = AugmentedImages(images, [4, 2, 4], 48, magnitude)
    random.seed(seed)
    return [dataset[index] for index in range(len(dataset))]


def test_each_image_is_a_square_with_its_class_id() -> None:
    found = drawn(0, 9)

    assert [image.shape for image, _ in found] == [(48, 48, 3)] * 3
    assert [class_id for _, class_id in found] == [4, 2, 4]


def test_a_seed_draws_the_same_crops_and_another_one_others() -> None:
    first, again, other = drawn(0, 9), drawn(0, 9), drawn(1, 9)

    assert all(np.array_equal(one, two) for (one, _), (two, _) in zip(first, again, strict=True))
    assert not any(np.array_equal(one, two) for (one, _), (two, _) in zip(first, other, strict=True))


def test_without_a_magnitude_colours_stay() -> None:
    grey = AugmentedImages([Image.new("RGB", (30, 20), (90, 80, 70))], [0], 16, magnitude=0)

    assert {tuple(pixel) for pixel in grey[0][0].reshape(-1, 3).tolist()} == {(90, 80, 70)}
