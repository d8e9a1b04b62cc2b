"""LabelMe's JSON files."""

import json
from pathlib import Path
from typing import Any

from service.cli.predict.annotations.annotated_image import of_record
from service.cli.predict.annotations.form import AnnotationForm
from service.cli.predict.annotations.labelme_files import LabelmeFiles
from tests.cli.predict.annotations.made_results import HEIGHT, WIDTH, classified, detection, record, ring


def written(folder: Path, line: dict[str, Any]) -> dict[str, Any]:
    with LabelmeFiles(folder, AnnotationForm()) as files:
        files.add(of_record(line))
    (path,) = folder.rglob("*.json")
    document: dict[str, Any] = json.loads(path.read_text())
    assert (path.parent / document["imagePath"]).resolve() == Path(line["file"]).resolve()
    return document


def test_a_box_is_a_rectangle_of_two_corners(tmp_path: Path) -> None:
    found = written(tmp_path, record(detection(ring(), "none")))

    (shape,) = found["shapes"]
    assert (shape["shape_type"], shape["label"], shape["points"]) == ("rectangle", "dog", [[10, 5], [43, 33]])
    assert (found["imageWidth"], found["imageHeight"], found["imageData"]) == (WIDTH, HEIGHT, None)


def test_the_parts_of_a_mask_are_polygons_of_one_group(tmp_path: Path) -> None:
    shapes = written(tmp_path, record(detection(ring())))["shapes"]

    assert [shape["shape_type"] for shape in shapes] == ["polygon", "polygon"]
    assert {shape["group_id"] for shape in shapes} == {0}


def test_the_label_of_a_whole_image_is_a_flag(tmp_path: Path) -> None:
    found = written(tmp_path, classified())

    assert (found["flags"], found["shapes"]) == ({"rose": True}, [])
