"""Augmentation keeps the size and the mode of images, and its soft labels match the mixed content."""

import random

import numpy as np
import pytest
import torch
from PIL import Image

from service.engines.training import augment


def checkered(width: int = 60, height: int = 40) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height // 4, width // 4, 3), dtype=np.uint8)
    return Image.fromarray(np.kron(pixels, np.ones((4, 4, 1), np.uint8)))


@pytest.mark.parametrize("sides", [(60, 40), (40, 60), (400, 4), (7, 7)])
def test_a_crop_is_a_square_of_the_asked_size(sides: tuple[int, int]) -> None:
    for _ in range(20):
        assert augment.random_resized_crop(checkered(*(4 * side for side in sides)), 32).size == (32, 32)


def test_crops_differ_and_stay_inside_the_picture() -> None:
    grey = Image.new("RGB", (50, 30), (90, 90, 90))

    assert len({augment.random_resized_crop(checkered(), 16).tobytes() for _ in range(8)}) == 8
    assert augment.random_resized_crop(grey, 16).getextrema() == ((90, 90),) * 3


@pytest.mark.parametrize("index", range(len(augment.OPERATIONS)))
@pytest.mark.parametrize("strength", [-1.0, 0.0, 1.0])
def test_every_operation_keeps_size_and_mode_at_its_strongest(index: int, strength: float) -> None:
    changed = augment.OPERATIONS[index](checkered(), strength)

    assert (changed.size, changed.mode) == ((60, 40), "RGB")


def test_every_operation_but_the_first_can_change_a_picture() -> None:
    image = checkered()
    changed = [
        any(operation(image, strength).tobytes() != image.tobytes() for strength in (-1.0, 1.0))
        for operation in augment.OPERATIONS
    ]

    assert changed == [False] + [True] * (len(augment.OPERATIONS) - 1)


def test_randaugment_leaves_the_picture_it_is_given_alone() -> None:
    image, before = checkered(), checkered().tobytes()

    changed = {augment.rand_augment(image).tobytes() for _ in range(20)}

    assert image.tobytes() == before
    assert len(changed) > 10


def test_a_mixed_batch_has_labels_that_sum_to_one_and_say_how_much_of_each_is_there() -> None:
    # All pixels of image i are i, so the mean of a mixed image shows the share of each image in it.
    images = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 3, 16, 20).contiguous()
    kinds = set()
    for _ in range(60):
        mixed, targets = augment.mix(images, torch.arange(4), classes=4)
        assert mixed.shape == images.shape
        torch.testing.assert_close(targets.sum(1), torch.ones(4))
        torch.testing.assert_close(mixed.mean((1, 2, 3)), targets @ torch.arange(4.0), rtol=0, atol=1e-5)
        blended = bool((mixed % 1).any())
        kinds.add("mixup" if blended else "cutmix" if bool((mixed != images).any()) else "plain")

    assert kinds == {"plain", "mixup", "cutmix"}


def test_mixing_does_not_change_the_batch_it_is_given() -> None:
    images = torch.rand(4, 3, 8, 8)
    before = images.clone()
    for _ in range(20):
        augment.mix(images, torch.arange(4), classes=4)

    assert torch.equal(images, before)


def test_the_same_seed_gives_the_same_crops_and_changes() -> None:
    def once() -> bytes:
        random.seed(3)
        return augment.rand_augment(augment.random_resized_crop(checkered(), 24)).tobytes()

    assert once() == once()
