"""Data sets in COCO's layout."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.measure.accuracy import coco, datasets
from service.models.cards import CardError
from service.tasks.scoring_base import TrueInstance


def content() -> dict[str, Any]:
    """Return a file of two images, the second of which has no object."""
    polygon = [[2.0, 2.0, 8.0, 2.0, 8.0, 8.0, 2.0, 8.0]]
    return {
        "info": {"year": 2017},
        "images": [
            {"id": 9, "file_name": "b.jpg", "width": 20, "height": 10},
            {"id": 4, "file_name": "a.jpg", "width": 20, "height": 10},
        ],
        "categories": [{"id": 17, "name": "cat"}, {"id": 18, "name": "dog"}],
        "annotations": [
            {"id": 1, "image_id": 9, "category_id": 17, "bbox": [2, 2, 6, 6], "area": 36.5, "segmentation": polygon},
            {"id": 2, "image_id": 9, "category_id": 18, "bbox": [0, 0, 20, 10], "area": 200, "iscrowd": 1},
            {"id": 3, "image_id": 9, "category_id": 18, "bbox": [1, 1, 2.5, 4]},
        ],
    }


def write(root: Path, split: str, document: object, *images: str) -> Path:
    (root / "annotations").mkdir(exist_ok=True)
    (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(document), encoding="utf-8")
    for name in images:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_the_published_layout_is_recognised_and_read_by_image_id(tmp_path: Path) -> None:
    write(tmp_path, "val2017", content(), "val2017/a.jpg", "val2017/b.jpg")
    write(tmp_path, "train2017", {})

    found = datasets.read(tmp_path)

    assert found.layout == "coco"
    assert [image.path for image in found.images] == [tmp_path / "val2017" / name for name in ("a.jpg", "b.jpg")]
    assert found.images[0].instances == ()
    assert found.images[1].instances == (
        TrueInstance("cat", (2, 2, 6, 6), 36.5),
        TrueInstance("dog", (0, 0, 20, 10), 200, crowd=True),
        TrueInstance("dog", (1, 1, 2.5, 4), 10),  # without an area it is that of the box
    )
    assert {image.size for image in found.images} == {(20, 10)}


def boxes(*found: tuple[float, float, float, float]) -> dict[str, Any]:
    rows = [{"id": index, "image_id": 9, "category_id": 17, "bbox": box} for index, box in enumerate(found)]
    return {**content(), "annotations": rows}


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (boxes((12, 2, 20, 10), (2, 2, 8, 8), (14, 1, 18, 9)), "2 of 3 boxes go beyond .* width, height in pixels"),
        (boxes((15, 8, -5, -4)), "1 of 1 boxes go beyond"),
        (boxes((0.1, 0.2, 0.5, 0.6), (0, 0, 1, 1)), "its boxes are shares of the images"),
        ({**content(), "images": [content()["images"][0]] * 2}, "1 of its images have the id of another one"),
        ({**content(), "categories": [{"id": 17, "name": each} for each in "ab"]}, "1 of its categories have the id"),
    ],
    ids=["corners", "negative sides", "shares", "two images of one id", "two categories of one id"],
)
def test_annotations_that_mean_something_else_are_refused(tmp_path: Path, document: Any, words: str) -> None:
    write(tmp_path, "val2017", document, "val2017/a.jpg", "val2017/b.jpg")
    with pytest.raises(CardError, match=words):
        datasets.read(tmp_path)


def test_a_box_may_go_a_pixel_beyond_the_image_and_a_few_further(tmp_path: Path) -> None:
    document = boxes((-0.5, 0, 21, 10), (2, 2, 8, 8), (2, 2, 8, 8), (15, 5, 30, 10))
    write(tmp_path, "val2017", document, "val2017/b.jpg")
    assert len(datasets.read(tmp_path).images[0].instances or ()) == 4


def test_annotations_beside_the_images_of_each_split_are_read(tmp_path: Path) -> None:
    """Roboflow exports them so (roboflow/rf-detr#85)."""
    for split in ("train", "valid"):
        (tmp_path / split).mkdir()
        (tmp_path / split / "_annotations.coco.json").write_text(json.dumps(content()), encoding="utf-8-sig")
        (tmp_path / split / "a.jpg").touch()
    with pytest.raises(CardError, match="it has the splits train, valid; choose one with --split"):
        datasets.read(tmp_path)
    found = datasets.read(tmp_path, split="valid")
    assert (found.layout, [image.path for image in found.images]) == ("coco", [tmp_path / "valid" / "a.jpg"])
    assert [(each.path.name, each.reason) for each in found.left_out] == [
        ("b.jpg", "it cannot be read: No such file or directory")
    ]


def test_an_object_has_the_mask_of_its_polygon_at_the_size_of_the_image(tmp_path: Path) -> None:
    write(tmp_path, "val2017", content(), "val2017/a.jpg", "val2017/b.jpg")

    cat, crowd, _ = coco.read(tmp_path, "")[1].instances or ()

    assert crowd.draw is None
    assert cat.draw is not None
    expected = np.zeros((10, 20), bool)
    expected[2:8, 2:8] = True
    assert np.array_equal(cat.draw(), expected)


@pytest.mark.parametrize("folder", ["mine", "images/mine", "images", "."])
def test_any_one_split_is_read_and_its_images_are_found(folder: str, tmp_path: Path) -> None:
    write(tmp_path, "mine", content(), f"{folder}/a.jpg", f"{folder}/b.jpg")

    assert [image.path.is_file() for image in datasets.read(tmp_path).images] == [True, True]


def test_an_image_whose_file_is_missing_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, "val2017", content(), "val2017/a.jpg")

    found = datasets.read(tmp_path)

    assert [image.path.name for image in found.images] == ["a.jpg"]
    assert [(each.path.name, each.reason) for each in found.left_out] == [
        ("b.jpg", "it cannot be read: No such file or directory")
    ]


def test_a_split_must_be_chosen_where_there_are_several(tmp_path: Path) -> None:
    write(tmp_path, "one", content(), "one/a.jpg")
    write(tmp_path, "two", content())

    with pytest.raises(CardError, match="it has the splits one, two; choose one with --split"):
        datasets.read(tmp_path)
    with pytest.raises(CardError, match=r"there is no annotations/instances_three\.json; there are one, two"):
        datasets.read(tmp_path, split="three")
    assert [image.path.name for image in datasets.read(tmp_path, split="one").images] == ["a.jpg"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": "none"}, "instances_val2017.json: images: Input should be a valid array"),
        ({"categories": []}, "annotations.0: its image or its category is not in the file"),
        (
            {"annotations": [{"image_id": 9, "category_id": 17, "bbox": [1, 2, 3]}]},
            r"annotations\.0\.bbox\.3: Field req",
        ),
    ],
)
def test_a_file_of_another_form_is_refused_with_the_place(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    write(tmp_path, "val2017", content() | change)

    with pytest.raises(CardError, match=message):
        datasets.read(tmp_path)
