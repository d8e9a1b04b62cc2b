"""Label Studio's tasks with predictions, and the configuration that they need."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from service.cli.predict.annotations.annotated_image import of_record
from service.cli.predict.annotations.form import AnnotationForm
from service.cli.predict.annotations.label_studio_file import LabelStudioFile
from tests.cli.predict.annotations.made_results import HEIGHT, WIDTH, classified, detection, record, ring

FORM = AnnotationForm(
    labels=[{"label": "cat", "class_id": 0}, {"label": 'dog "big"', "class_id": 1}], image_url="/data/?d="
)


def written(path: Path, *records: dict[str, Any]) -> list[dict[str, Any]]:
    with LabelStudioFile(path, FORM) as file:
        for each in records:
            file.add(of_record(each))
    tasks: list[dict[str, Any]] = json.loads(path.read_text())
    return tasks


def test_a_box_is_in_per_cent_of_the_image(tmp_path: Path) -> None:
    (task,) = written(tmp_path / "tasks.json", record(detection(ring(), "none"), file="photos/a b.jpg"))

    (prediction,) = task["predictions"]
    (result,) = prediction["result"]
    value = result["value"]
    assert task["data"]["image"] == "/data/?d=photos/a%20b.jpg"
    assert prediction["model_version"] == "tiny-detector 1.0"
    assert [value[name] for name in ("x", "y", "width", "height")] == pytest.approx(
        [100 * 10 / WIDTH, 100 * 5 / HEIGHT, 100 * 33 / WIDTH, 100 * 28 / HEIGHT]
    )
    assert (result["type"], value["rectanglelabels"]) == ("rectanglelabels", ["dog"])


@pytest.mark.parametrize("line", [record(detection(ring())), record(detection(ring(), "none")), classified()])
def test_the_configuration_has_each_control_and_label_that_a_result_names(tmp_path: Path, line: dict[str, Any]) -> None:
    (task,) = written(tmp_path / "tasks.json", line)

    root = ElementTree.parse(tmp_path / "tasks.xml").getroot()  # noqa: S314 - written here
    controls = {tag.get("name"): {item.get("value") for item in tag} for tag in root if tag.get("toName") == "image"}

    results = task["predictions"][0]["result"]
    assert results
    for result in results:
        assert set(result["value"][result["type"]]) <= controls[result["from_name"]]
        assert result["to_name"] == root[0].get("name")
    assert 'dog "big"' in controls[results[0]["from_name"]]


def test_an_image_without_objects_is_a_task_all_the_same(tmp_path: Path) -> None:
    tasks = written(tmp_path / "tasks.json", record(), classified(file="b.jpg", unknown=True))

    assert [task["predictions"][0]["result"] for task in tasks] == [[], []]
