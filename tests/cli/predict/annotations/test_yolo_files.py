"""YOLO's text files, read back by their definition."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from service.cli.predict.annotations.annotated_image import of_record
from service.cli.predict.annotations.form import AnnotationForm
from service.cli.predict.annotations.yolo_files import YoloFiles
from service.cli.predict.failures import RunFailedError
from tests.cli.predict.annotations.made_results import HEIGHT, WIDTH, classified, detection, record, ring

FORM = AnnotationForm(labels=[{"label": "cat", "class_id": 0}, {"label": "dog: brown", "class_id": 1}], tolerance=0)


def written(folder: Path, *records: dict[str, object]) -> None:
    with YoloFiles(folder, FORM) as files:
        for each in records:
            files.add(of_record(each))


def test_a_box_is_its_centre_and_its_size_as_shares_of_the_image(tmp_path: Path) -> None:
    written(tmp_path, record(detection(ring(), "none")))

    line = (tmp_path / "labels" / "photos" / "a.txt").read_text().split()

    assert line[0] == "1"
    expected = [(10 + 33 / 2) / WIDTH, (5 + 28 / 2) / HEIGHT, 33 / WIDTH, 28 / HEIGHT]
    assert [float(each) for each in line[1:]] == pytest.approx(expected, abs=1e-6)


def test_a_mask_is_one_polygon_of_its_area(tmp_path: Path) -> None:
    written(tmp_path, record(detection(ring())))

    (line,) = (tmp_path / "labels" / "photos" / "a.txt").read_text().splitlines()
    x, y = np.array(line.split()[1:], float).reshape(-1, 2).T * [[WIDTH], [HEIGHT]]

    assert abs((x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2) == pytest.approx(ring().sum(), abs=0.01)


def test_an_image_without_objects_has_an_empty_file(tmp_path: Path) -> None:
    written(tmp_path, record())

    assert (tmp_path / "labels" / "photos" / "a.txt").read_text() == ""


def test_the_names_of_all_classes_are_written(tmp_path: Path) -> None:
    written(tmp_path, record())

    assert yaml.safe_load((tmp_path / "data.yaml").read_text())["names"] == {0: "cat", 1: "dog: brown"}
    assert (tmp_path / "classes.txt").read_text() == "cat\ndog: brown\n"


def test_two_images_of_one_name_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunFailedError, match=r"a\.txt has the annotations of another image"):
        written(tmp_path, record(), record(file="photos/a.png"))


def test_the_label_of_a_whole_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFailedError, match="whole image"):
        written(tmp_path, classified())


def test_a_model_whose_labels_are_not_known_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFailedError, match="--store or --url"):
        YoloFiles(tmp_path, AnnotationForm())


def test_nothing_is_written_outside_the_folder(tmp_path: Path) -> None:
    written(tmp_path / "out", record(file="../../b.jpg"), record(file="/top/c.jpg"))

    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.txt")) == [
        "out/classes.txt",
        "out/labels/b.txt",
        "out/labels/top/c.txt",
    ]
