"""Files, folders, patterns and standard input."""

import os
from pathlib import Path, PurePath

import pytest

from service.cli.predict import inputs
from service.cli.predict.failures import InputProblemError, RunFailedError
from service.measure import image_file
from service.tasks.scoring_base import Remark
from tests.gateway.fixtures.images import image_bytes


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Return a folder with two images in folders of their own, and a text file."""
    for name in ("b/2.png", "a/1.png"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(image_bytes())
    (tmp_path / "photos" / "notes.txt").write_text("no image", encoding="utf-8")
    return tmp_path / "photos"


def found(*arguments: Path | str) -> tuple[list[inputs.InputFile], list[Remark]]:
    left_out: list[Remark] = []
    return list(inputs.find(map(str, arguments), left_out)), left_out


def problem(path: Path | str) -> dict[str, str]:
    (file,) = found(path)[0]
    with pytest.raises(InputProblemError) as raised:
        inputs.read(file)
    return raised.value.problem


def test_a_folder_is_its_images_sorted_and_names_what_is_left_out(photos: Path) -> None:
    files, left_out = found(photos)

    assert [file.place for file in files] == [PurePath("a/1.png"), PurePath("b/2.png")]
    assert [file.name for file in files] == [str(photos / "a/1.png"), str(photos / "b/2.png")]
    assert [(remark.path.name, remark.reason) for remark in left_out] == [("notes.txt", "it is not an image")]


def test_an_empty_name_is_no_folder(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos)

    with pytest.raises(RunFailedError, match="empty name"):
        found("")


@pytest.mark.parametrize(
    "url", ["https://a.example/a.jpg", "HTTP://a.example/", "data:image/png;base64,AA", "s3://b/c"]
)
def test_a_url_is_said_to_be_one(url: str) -> None:
    assert problem(url)["detail"].endswith("is a URL. Download the image, and name its file")


def test_a_pattern_is_the_files_that_match_it(photos: Path) -> None:
    files, _ = found(f"{photos}/**/*.png")

    assert [file.name for file in files] == [str(photos / "a/1.png"), str(photos / "b/2.png")]


def test_the_arguments_keep_their_order(photos: Path) -> None:
    files, _ = found(photos / "b/2.png", photos / "a")

    assert [file.path for file in files] == [photos / "b/2.png", photos / "a/1.png"]


def test_the_place_of_a_file_is_its_name() -> None:
    assert found("/data/../x/cat.png")[0][0].place == PurePath("cat.png")


def test_what_matches_nothing_is_a_problem_and_not_left_out(tmp_path: Path) -> None:
    assert problem(tmp_path / "no.png")["code"] == "file_not_found"
    assert problem(f"{tmp_path}/*.png")["code"] == "file_not_found"


def test_a_folder_without_images_is_a_problem(tmp_path: Path) -> None:
    assert problem(tmp_path)["code"] == "folder_without_images"


def test_a_pipe_is_a_problem_and_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")

    assert problem(tmp_path / "pipe.png")["code"] == "file_unreadable"


def test_a_file_beyond_every_limit_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "huge.png").open("wb") as file:
        file.truncate(image_file.MAX_BYTES + 1)

    assert problem(tmp_path / "huge.png")["code"] == "body_too_large"


def test_a_name_that_is_not_utf8_is_printable_and_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"\xff.png")
    path.write_bytes(b"abc")

    (file,) = found(path)[0]

    assert file.name == f"{tmp_path}/\\xff.png"
    assert inputs.read(file) == b"abc"


def test_a_dash_is_standard_input() -> None:
    (file,) = found("-")[0]

    assert (file.name, file.path, file.place) == ("-", None, PurePath("stdin"))
