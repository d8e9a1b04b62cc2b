"""The scenes that the detector is trained on: their masks, boxes and kinds."""

import random
from pathlib import Path

import numpy as np
import photos
import pytest
import scenes
from PIL import Image
from scenes import KINDS, Canvas, MaskedImage, Scenes

RED, BLUE = (255, 0, 0), (0, 0, 255)


def drawn(animal: tuple[int, int, int], *, class_id: int = 0, size: tuple[int, int] = (60, 40)) -> MaskedImage:
    """Return a grey image with an animal of one colour in its middle, half as wide and as high."""
    image, mask = Image.new("RGB", size, (128, 128, 128)), Image.new("L", size)
    box = (size[0] // 4, size[1] // 4, 3 * size[0] // 4, 3 * size[1] // 4)
    image.paste(animal, box)
    mask.paste(255, box)
    return MaskedImage(image, mask, class_id)


def flower(size: tuple[int, int] = (60, 40)) -> MaskedImage:
    return MaskedImage(Image.new("RGB", size, (0, 255, 0)), None, -1)


def some() -> Scenes:
    return Scenes([drawn(RED), drawn(BLUE, class_id=1, size=(40, 60))], [flower()])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(64, 96), (96, 64)])
def test_every_kind_has_masks_inside_the_scene_that_do_not_overlap(kind: str, size: tuple[int, int]) -> None:
    for _ in range(20):
        scene = some().draw(*size, kind)
        height, width = size

        assert scene.image.shape == (height, width, 3)
        assert scene.masks.shape == (len(scene.class_ids), height, width)
        assert scene.masks.sum(axis=0).max(initial=0) <= 1
        assert set(scene.class_ids) <= {0, 1}
        for mask, (left, top, right, bottom) in zip(scene.masks, scene.boxes().astype(int), strict=True):
            assert mask.sum() >= scenes.MIN_PIXELS
            assert mask[top:bottom, left:right].sum() == mask.sum()
            assert all(side.any() for side in (mask[top], mask[bottom - 1], mask[:, left], mask[:, right - 1]))


@pytest.mark.parametrize("kind", ["photo", "pasted", "grid"])
def test_the_pixels_of_a_mask_show_its_animal(kind: str) -> None:
    for _ in range(20):
        scene = some().draw(64, 96, kind)
        for mask, class_id in zip(scene.masks, scene.class_ids, strict=True):
            red, _, blue = scene.image[mask].astype(int).mean(axis=0)
            assert (red > blue) == (class_id == 0)


def test_kinds_differ_in_what_they_show() -> None:
    counts = {kind: [len(some().draw(96, 128, kind).masks) for _ in range(40)] for kind in KINDS}

    assert set(counts["flower"]) == {0}
    assert set(counts["photo"]) <= {0, 1}
    assert max(counts["pasted"]) > 2
    assert max(counts["grid"]) > 2
    assert sum(KINDS.values()) == pytest.approx(1)


def test_what_lies_below_a_later_animal_is_not_part_of_the_earlier_one() -> None:
    canvas = Canvas(100, 100)
    canvas.paste(drawn(RED), 60, (50, 50))
    canvas.paste(drawn(BLUE, class_id=1), 30, (50, 50))
    scene = canvas.scene()

    assert list(scene.class_ids) == [0, 1]
    assert not (scene.masks[0] & scene.masks[1]).any()
    assert scene.masks[1][50, 50]


def test_an_animal_that_is_almost_hidden_is_no_instance() -> None:
    canvas = Canvas(100, 100)
    canvas.paste(drawn(RED), 30, (50, 50))
    canvas.paste(drawn(BLUE, class_id=1), 40, (50, 50))

    assert list(canvas.scene().class_ids) == [1]


def test_an_animal_outside_the_scene_is_no_instance() -> None:
    canvas = Canvas(100, 100)
    canvas.paste(drawn(RED), 40, (-15, 50))

    assert len(canvas.scene().masks) == 0
    assert canvas.scene().boxes().shape == (0, 4)


def test_a_flower_cannot_be_pasted() -> None:
    with pytest.raises(ValueError, match="an image without an animal cannot be pasted"):
        Canvas(10, 10).paste(flower(), 5, (5, 5))


def test_the_rim_of_a_trimap_belongs_to_the_animal(photos_folder: Path) -> None:
    dog = next(row for row in photos.read(photos_folder) if row.label == "dog" and row.mask_kind == "trimap")

    found = scenes.masked_image(dog)

    assert (found.class_id, scenes.has_animal(found)) == (1, True)
    assert found.mask is not None
    assert np.array_equal(np.asarray(found.mask) == 255, dog.mask_ids() > 0)


def test_a_flower_and_an_empty_mask_have_no_animal() -> None:
    empty = MaskedImage(Image.new("RGB", (8, 8)), Image.new("L", (8, 8)), 0)

    assert not scenes.has_animal(empty)
    assert not scenes.has_animal(flower())


def test_the_same_seed_draws_the_same_scene() -> None:
    pair = []
    for _ in range(2):
        random.seed(11)
        pair.append(some().draw(64, 96))

    assert np.array_equal(pair[0].image, pair[1].image)
    assert np.array_equal(pair[0].masks, pair[1].masks)
