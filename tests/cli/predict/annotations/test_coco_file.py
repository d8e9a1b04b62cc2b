"""COCO's annotations as pycocotools reads them."""

import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO

from service.cli.predict.annotations.annotated_image import of_record
from service.cli.predict.annotations.coco_file import CocoFile
from service.cli.predict.annotations.form import AnnotationForm
from service.cli.predict.failures import RunFailedError
from tests.cli.predict.annotations.made_results import HEIGHT, WIDTH, classified, detection, record, ring

LABELS = [{"label": "cat", "class_id": 0}, {"label": "dog", "class_id": 1}]


def written(path: Path, *records: dict[str, object], form: AnnotationForm | None = None) -> COCO:
    with CocoFile(path, form or AnnotationForm(labels=LABELS)) as file:
        for each in records:
            file.add(of_record(each))
    return COCO(str(path))


@pytest.mark.parametrize("form", ["rle", "polygons"])
def test_pycocotools_draws_the_mask_that_was_found(form: str, tmp_path: Path) -> None:
    read = written(tmp_path / "coco.json", record(detection(ring(), form)))

    (annotation,) = read.loadAnns(read.getAnnIds())
    differences = (read.annToMask(annotation) != ring()).sum()

    assert differences == 0 if form == "rle" else differences <= 60
    assert annotation["bbox"] == [10, 5, 33, 28]
    assert (annotation["area"], annotation["iscrowd"], annotation["score"]) == (ring().sum(), 0, 0.9)
    assert read.loadCats(annotation["category_id"])[0]["name"] == "dog"


def test_masks_are_polygons_if_wanted(tmp_path: Path) -> None:
    read = written(tmp_path / "coco.json", record(detection(ring())), form=AnnotationForm(labels=LABELS, polygons=True))

    (annotation,) = read.loadAnns(read.getAnnIds())

    assert len(annotation["segmentation"]) == 2
    assert all(isinstance(part, list) and len(part) >= 6 for part in annotation["segmentation"])


def test_images_have_their_names_and_sizes_and_their_own_annotations(tmp_path: Path) -> None:
    boxes = [detection(ring(), "none", score=score) for score in (0.9, 0.8)]
    read = written(
        tmp_path / "new" / "coco.json",
        record(*boxes),
        record(file="photos/b.jpg"),
        record(boxes[1], file="photos/ü.jpg"),
    )

    images = read.loadImgs(read.getImgIds())
    found = {row["file_name"]: [each["score"] for each in read.imgToAnns[row["id"]]] for row in images}

    assert found == {"photos/a.jpg": [0.9, 0.8], "photos/b.jpg": [], "photos/ü.jpg": [0.8]}
    assert {(row["width"], row["height"]) for row in images} == {(WIDTH, HEIGHT)}


def test_the_category_ids_are_cocos_where_the_model_has_them(tmp_path: Path) -> None:
    labels = [{**row, "category_id": number} for row, number in zip(LABELS, (17, 18), strict=True)]

    read = written(tmp_path / "a.json", record(detection(ring(), category_id=18)), form=AnnotationForm(labels=labels))

    assert {row["id"]: row["name"] for row in read.loadCats(read.getCatIds())} == {17: "cat", 18: "dog"}
    assert read.anns[1]["category_id"] == 18


def test_the_label_of_a_whole_image_is_refused_and_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(RunFailedError, match="whole image"):
        written(tmp_path / "coco.json", classified())

    assert list(tmp_path.iterdir()) == []


def test_an_earlier_file_stays_until_the_new_one_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "coco.json"
    path.write_text("earlier")
    with CocoFile(path, AnnotationForm()) as file:
        file.add(of_record(record(detection(ring()))))
        assert path.read_text() == "earlier"

    assert np.array(json.loads(path.read_text())["annotations"][0]["segmentation"]["size"]).tolist() == [HEIGHT, WIDTH]
