"""Copies that were resized, compressed again or mirrored are one group, and other photos are not."""

import io
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageOps

from service.cli.train import near_copies

Pixels = npt.NDArray[np.uint8]


def photo(seed: int, side: int = 144) -> Image.Image:
    """Return a smooth random image, as coarse as a photo."""
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)


def compressed(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "compressed": lambda image: compressed(image, 40),
    "resized": lambda image: image.resize((90, 90)).resize((144, 144)),
    "mirrored": ImageOps.mirror,
    "mirrored and compressed": lambda image: compressed(ImageOps.mirror(image), 60),
    "brighter": lambda image: image.point(lambda level: min(255, int(level * 1.1))),
}


@pytest.mark.parametrize("kind", COPIES)
def test_a_copy_is_in_the_group_of_its_original(kind: str) -> None:
    images = [photo(1), photo(2), COPIES[kind](photo(1)), photo(3)]

    found = near_copies.groups(np.stack([near_copies.fingerprint(np.array(image)) for image in images]))

    assert found.tolist() == [0, 1, 0, 3]


def prints_of(images: list[Image.Image]) -> near_copies.Fingerprints:
    return np.stack([near_copies.fingerprint(np.array(image)) for image in images])


def test_the_merged_photos_of_each_label_are_counted_with_the_closest_pair() -> None:
    images = [photo(1), photo(2), compressed(photo(1), 30), ImageOps.mirror(photo(1)), photo(3), photo(2)]
    prints = prints_of(images)
    found = near_copies.groups(prints)

    merged = near_copies.merged(prints, found, ["a", "b", "a", "a", "b", "c"])

    assert merged == {"a": near_copies.Merged(2, (0, 3))}  # a mirror image differs less than a compressed one
    assert near_copies.across(found, ["a", "b", "a", "a", "b", "c"]) == near_copies.Merged(2, (1, 5))
    assert near_copies.across(found, ["a", "b", "a", "a", "b", "b"]) is None


def test_thousands_of_frames_of_a_fixed_camera_are_one_group() -> None:
    frames = 3000
    prints = np.random.default_rng(3).random((frames + 2, 2, near_copies.BITS)) < 0.5
    prints[1:-1] = prints[1]  # 9 million pairs

    found = near_copies.groups(prints)

    assert found.tolist() == [0, *[1] * frames, frames + 1]


def test_copies_of_copies_are_one_group_and_many_photos_take_many_blocks() -> None:
    prints = np.random.default_rng(2).random((2 * near_copies.BLOCK + 50, 2, near_copies.BITS)) < 0.5
    step = near_copies.MAX_DIFFERENT * 3 // 4
    first, last = prints[5, 0], prints[-1, 0]
    last[:] = first
    last[: 2 * step] ^= True  # too different from the first
    prints[1500, 0] = first
    prints[1500, 0, :step] ^= True  # between both

    found = near_copies.groups(prints)

    assert found[5] == found[1500] == found[-1] == 5
    assert len(set(found.tolist())) == len(prints) - 2
