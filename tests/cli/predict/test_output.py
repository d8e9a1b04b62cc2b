"""What is written for each file."""

import csv
import json

import pytest

from service.cli.predict import output
from service.cli.predict.records import Columns
from service.tasks import endpoints

FOUND = {"file": "a.png", "model": {"name": "m", "version": "1"}, "predictions": [{"label": "cat", "score": 0.5}]}
BAD = {"file": "b\n.png", "error": {"code": "image_corrupt", "detail": "It is cut, off."}}


def written(form: str, capsys: pytest.CaptureFixture[str]) -> str:
    write = output.writer(form, Columns.of(endpoints()["classify"]), 6)
    write(FOUND)
    write(BAD)
    return capsys.readouterr().out


def test_a_table_has_a_line_for_each_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert written("table", capsys) == "a.png   cat 50.0 %\nb\\n.png  image_corrupt: It is cut, off.\n"


def test_json_is_a_document_on_each_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert [json.loads(line) for line in written("json", capsys).splitlines()] == [FOUND, BAD]


def test_csv_has_a_head_and_a_row_for_each_result(capsys: pytest.CaptureFixture[str]) -> None:
    rows = list(csv.DictReader(written("csv", capsys).splitlines(keepends=True)))

    assert [row["file"] for row in rows] == ["a.png", "b\n.png"]
    assert (rows[0]["label"], rows[0]["score"], rows[1]["problem"]) == ("cat", "0.5", "image_corrupt")


def test_a_name_cannot_move_the_cursor() -> None:
    assert output.one_line("a\x1b[2Jé.png") == "a\\x1b[2Jé.png"
