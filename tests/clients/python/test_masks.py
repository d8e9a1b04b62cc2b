"""Masks and images of answers as Pillow images and NumPy arrays."""

import base64
import io

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from pycocotools import mask as coco
from resnest_client.masks import EncodedImage, RunLengths, Runs, run_lengths

RANDOM = np.random.default_rng(7)


def shape(kind: str) -> npt.NDArray[np.bool_]:
    """Return a mask of 37 by 53 pixels."""
    masks = {
        "empty": np.zeros((37, 53), bool),
        "full": np.ones((37, 53), bool),
        "noise": RANDOM.random((37, 53)) > 0.5,
        "block": np.logical_and.outer(np.arange(37) > 9, np.arange(53) > 20),
    }
    return np.asarray(masks[kind], bool)


def runs_of(mask: npt.NDArray[np.bool_]) -> Runs:
    """Return a mask as pycocotools writes it."""
    encoded = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    return Runs(size=tuple(encoded["size"]), counts=encoded["counts"].decode())


@pytest.mark.parametrize("kind", ["empty", "full", "noise", "block"])
def test_run_lengths_are_read_as_pycocotools_writes_them(kind: str) -> None:
    mask = shape(kind)

    assert np.array_equal(runs_of(mask).to_numpy(), mask)


def test_the_run_lengths_of_a_large_mask_need_several_characters_a_number() -> None:
    mask = np.zeros((4000, 3000), bool)
    mask[:, 1500:] = True

    assert run_lengths(runs_of(mask).counts) == [6_000_000, 6_000_000]


@pytest.mark.parametrize("counts", ["", "05", "~~", "o", "\x00", "1000"])
def test_damaged_run_lengths_are_an_error_and_no_wrong_mask(counts: str) -> None:
    with pytest.raises(ValueError, match="run length"):
        Runs(size=(2, 2), counts=counts).to_numpy()


def test_the_classes_of_a_mask_are_put_together_and_the_rest_is_255() -> None:
    first, second = shape("block"), ~shape("block")
    second[0] = False
    masks = [{"class_id": 3, **runs_of(first).model_dump()}, {"class_id": 7, **runs_of(second).model_dump()}]

    ids = RunLengths.model_validate({"format": "rle", "width": 53, "height": 37, "masks": masks}).to_numpy()

    assert ids.dtype == np.uint8
    assert np.array_equal(ids == 3, first)
    assert np.array_equal(ids == 7, second)
    assert set(np.unique(ids)) == {3, 7, 255}


def test_an_indexed_png_has_class_ids_and_colours() -> None:
    ids = RANDOM.integers(0, 3, (5, 4), dtype=np.uint8)
    image = Image.fromarray(ids).convert("P")
    image.putdata(ids.ravel().tolist())
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    out = io.BytesIO()
    image.save(out, "PNG")
    data = base64.b64encode(out.getvalue()).decode()

    mask = EncodedImage(format="png", width=4, height=5, data=data)

    assert mask.to_pillow().mode == "P"
    assert np.array_equal(mask.to_numpy(), ids)
    assert mask.to_bytes() == out.getvalue()
