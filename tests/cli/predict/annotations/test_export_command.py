"""The command `export`, from lines of results to files."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image
from pycocotools.coco import COCO

from service.cli.main import main
from tests.cli.predict.annotations.made_results import classified, detection, record, ring

PROBLEM: dict[str, object] = {"file": "bad.jpg", "error": {"code": "image_corrupt", "detail": "It ends early."}}


def results(tmp_path: Path, *lines: dict[str, object]) -> Path:
    path = tmp_path / "results.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path


def call(store: Path, *arguments: object, text: str | None = None) -> Result:
    return CliRunner().invoke(main, ["export", "--store", str(store), *map(str, arguments)], input=text)


def test_the_answers_of_a_real_model_become_annotations(store: Path, tmp_path: Path) -> None:
    photo = tmp_path / "a.jpg"
    Image.effect_noise((90, 70), 90).convert("RGB").save(photo)
    asked = ["detect", str(photo), "--local", "--json", "--store", str(store), "--min-score", "0"]
    found = CliRunner().invoke(main, asked)
    count = len(json.loads(found.stdout)["detections"])

    told = call(store, "-", "--format", "coco", "--out", tmp_path / "coco.json", text=found.stdout)

    assert told.exit_code == 0, told.output
    assert count > 0
    read = COCO(str(tmp_path / "coco.json"))
    assert len(read.anns) == count
    assert all(read.annToMask(each).shape == (70, 90) for each in read.anns.values())
    assert {row["name"] for row in read.loadCats(read.getCatIds())} == {"cat", "dog"}


@pytest.mark.parametrize(("form", "there"), [("yolo", "labels/photos/a.txt"), ("labelme", "photos/a.json")])
def test_a_folder_has_a_file_for_each_image(form: str, there: str, store: Path, tmp_path: Path) -> None:
    lines = results(tmp_path, record(detection(ring())), record(file="photos/b.jpg"))

    told = call(store, lines, "--format", form, "--out", tmp_path / "out")

    assert told.exit_code == 0, told.output
    assert (tmp_path / "out" / there).is_file()
    assert "2 images" in told.stderr


def test_lines_with_a_problem_are_left_out_and_counted(store: Path, tmp_path: Path) -> None:
    lines = results(tmp_path, PROBLEM, record(detection(ring())), PROBLEM)

    told = call(store, lines, "--format", "label-studio", "--out", tmp_path / "tasks.json")

    assert told.exit_code == 3
    assert "1 images, 2 lines with a problem left out" in told.stderr
    assert len(json.loads((tmp_path / "tasks.json").read_text())) == 1


def test_low_scores_and_labels_can_be_left_out(store: Path, tmp_path: Path) -> None:
    rows = [detection(ring(), score=0.4), detection(ring(), label="cat", class_id=0), detection(ring())]
    lines = results(tmp_path, record(*rows))

    call(store, lines, "--format", "coco", "--out", tmp_path / "a.json", "--min-score", 0.5, "--skip", "cat")

    assert [row["score"] for row in json.loads((tmp_path / "a.json").read_text())["annotations"]] == [0.9]


def test_answers_of_two_models_are_an_error(store: Path, tmp_path: Path) -> None:
    lines = results(tmp_path, record(), {**record(), "model": {"name": "other", "version": "1.0", "task": "detection"}})

    told = call(store, lines, "--format", "coco", "--out", tmp_path / "a.json")

    assert told.exit_code == 1
    assert "another model" in told.stderr
    assert not (tmp_path / "a.json").exists()


@pytest.mark.parametrize("form", ["coco", "yolo"])
def test_a_form_without_labels_of_images_refuses_them(form: str, store: Path, tmp_path: Path) -> None:
    told = call(store, results(tmp_path, classified()), "--format", form, "--out", tmp_path / "out")

    assert told.exit_code == 1
    assert "whole image" in told.stderr


def test_results_without_an_answer_are_an_error(store: Path, tmp_path: Path) -> None:
    assert "no answer" in call(store, results(tmp_path, PROBLEM), "--format", "coco", "--out", tmp_path / "a").stderr
    assert "no answer" in call(store, results(tmp_path), "--format", "coco", "--out", tmp_path / "a").stderr
