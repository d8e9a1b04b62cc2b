"""The commands of the endpoints, from their arguments to output, files and exit status."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from service.cli.main import main
from service.cli.predict.predict_command import command_of
from service.host.processes import free_port
from service.tasks import endpoints
from tests.gateway.fixtures.images import image_bytes
from tests.toy_task.task import registered


def call(command: str, store: Path, *arguments: str | Path, stdin: bytes | None = None) -> Result:
    words = [command, "--local", "--store", str(store), *map(str, arguments)]
    return CliRunner().invoke(main, words, input=stdin)


def documents(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed, name in enumerate(("a.png", "b.png")):
        (folder / name).write_bytes(image_bytes(seed))
    return folder


def test_a_folder_is_a_line_for_each_image(store: Path, photos: Path) -> None:
    result = call("classify", store, photos, "--top-k", "2")

    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines] == [str(photos / "a.png"), str(photos / "b.png")]
    assert all(line.count("%") == 2 for line in lines)


def test_a_bad_file_has_its_problem_and_the_exit_status_says_that_there_is_one(store: Path, photos: Path) -> None:
    (photos / "broken.png").write_bytes(image_bytes()[:200])

    result = call("classify", store, photos, photos / "none.png", "--json")

    found = documents(result)
    assert result.exit_code == 3
    assert ["predictions" in each for each in found] == [True, True, False, False]
    assert [each["error"]["code"] for each in found[2:]] == ["image_corrupt", "file_not_found"]
    assert "files with a problem: 2 of 4" in result.stderr


def test_csv_has_a_row_for_each_class(store: Path, photos: Path) -> None:
    rows = list(csv.DictReader(call("classify", store, photos, "--csv").stdout.splitlines()))

    assert len(rows) == 2 * 5
    assert {row["model"] for row in rows} == {"tiny-classifier"}


def test_standard_input_is_a_file(store: Path) -> None:
    (found,) = documents(call("embed", store, "-", "--json", stdin=image_bytes()))

    assert found["file"] == "-"
    assert len(found["embedding"]["data"]) == found["embedding"]["dimensions"]


def test_masks_and_overlays_are_written_as_files(store: Path, photos: Path, tmp_path: Path) -> None:
    result = call("segment", store, photos, "--json", "--out", tmp_path / "out")

    assert result.exit_code == 0, result.output
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["a.mask.png", "a.overlay.png", "b.mask.png", "b.overlay.png"]
    with Image.open(documents(result)[0]["mask"]["file"]) as mask:
        assert mask.size == (96, 72)


@pytest.mark.parametrize(
    "command", [name for name, each in endpoints().items() if "overlay" in each.query.model_fields]
)
def test_an_overlay_without_a_format_is_a_png(command: str, store: Path, photos: Path, tmp_path: Path) -> None:
    result = call(command, store, photos / "a.png", "--overlay", "--out", tmp_path / "out")

    assert result.exit_code == 0, result.output
    assert list((tmp_path / "out").glob("a.overlay*.png"))


def test_an_explanation_and_detections_are_drawn_too(store: Path, photos: Path, tmp_path: Path) -> None:
    for command, name in (("explain", "a.overlay-1.png"), ("detect", "a.overlay.png")):
        result = call(command, store, photos / "a.png", "--out", tmp_path / command)
        assert result.exit_code == 0, result.output
        assert (tmp_path / command / name).is_file()


def test_files_that_are_left_out_are_named(store: Path, photos: Path) -> None:
    (photos / "notes.txt").write_text("no image", encoding="utf-8")

    assert "Left out: 1 file, because it is not an image" in call("classify", store, photos).stderr


def test_a_wrong_value_is_a_wrong_use_before_anything_is_loaded(store: Path, photos: Path) -> None:
    result = call("classify", store, photos, "--min-score", "2")

    assert result.exit_code == 2
    assert "min_score: input should be less than or equal to 1" in result.stderr


def test_without_a_service_the_error_names_the_ways_out(photos: Path) -> None:
    result = CliRunner().invoke(main, ["classify", str(photos), "--url", f"http://127.0.0.1:{free_port()}"])

    assert result.exit_code == 1
    assert "--local" in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("name", sorted(endpoints()))
def test_a_command_has_a_folder_for_images_only_if_its_endpoint_answers_with_images(name: str) -> None:
    options = {option for parameter in command_of(endpoints()[name]).params for option in parameter.opts}

    assert ("--out" in options) == bool(endpoints()[name].image_types)


def test_a_task_that_is_registered_later_has_its_command() -> None:
    with registered():
        result = CliRunner().invoke(main, ["pick", "--help"])

    assert "Pick classes" in result.output
    assert "--most INTEGER" in result.output
