"""Documents, rows and lines about answers, for the examples of every endpoint."""

import pytest

from service.cli.predict import records
from service.cli.predict.records import Columns
from service.tasks import endpoints
from tests.toy_task.task import registered

MODEL = {"name": "mine", "version": "1.0", "task": "t"}
PROBLEM = {"file": "bad.png", "error": {"code": "image_corrupt", "detail": "It is cut off.", "status": 422}}


def example(name: str) -> dict[str, object]:
    document = endpoints()[name].examples()[0]
    return records.record("a.png", {"model": document["model"], **document["results"][0]})


@pytest.mark.parametrize("name", sorted(endpoints()))
def test_every_row_of_an_example_has_a_cell_for_each_column(name: str) -> None:
    columns = Columns.of(endpoints()[name])
    rows = list(columns.rows(example(name)))

    assert rows
    assert all(len(row) == len(columns.head) and row[0] == "a.png" and row[-2:] == ["", ""] for row in rows)
    assert columns.summary(example(name))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("classify", ("label", "class_id", "wnid", "score")),
        ("embed", ("encoding", "dimensions", "data")),
        ("segment", ("label", "class_id", "wnid", "color", "pixels", "share", "bbox", "score")),
        ("detect", ("label", "class_id", "wnid", "category_id", "score", "bbox", "color", "pixels")),
        ("explain", ("label", "class_id", "wnid", "score", "bias")),
    ],
)
def test_the_columns_are_the_flat_members_of_the_response(name: str, expected: tuple[str, ...]) -> None:
    assert Columns.of(endpoints()[name]).names == expected


def test_a_task_that_is_registered_later_has_columns_too() -> None:
    with registered() as task:
        assert Columns.of(task.endpoints[0]).names == ("label", "class_id", "wnid")


def test_a_box_is_numbers_in_one_cell() -> None:
    columns = Columns.of(endpoints()["detect"])
    found = {"file": "a.png", "model": MODEL, "detections": [{"label": "cat", "bbox": (1.5, 2, 3, 4)}]}

    (row,) = columns.rows(found)

    assert dict(zip(columns.head, row, strict=True))["bbox"] == "1.5 2 3 4"


def test_a_file_with_a_problem_or_without_a_result_is_a_row() -> None:
    columns = Columns.of(endpoints()["detect"])

    (bad,) = columns.rows(PROBLEM)
    (empty,) = columns.rows({"file": "a.png", "model": MODEL, "detections": []})

    assert (bad[0], *bad[-2:]) == ("bad.png", "image_corrupt", "It is cut off.")
    assert empty == ["a.png", "mine", "1.0", *[""] * 11]
    assert columns.summary({"file": "a.png", "detections": []}) == "none"


def test_a_line_names_the_problem_or_the_first_classes_with_their_scores() -> None:
    columns = Columns.of(endpoints()["classify"])
    seven = [{"label": f"c{index}", "score": 0.1} for index in range(7)]

    assert columns.summary(PROBLEM) == "image_corrupt: It is cut off."
    assert columns.summary({"predictions": seven[:1]}) == "c0 10.0 %"
    assert columns.summary({"predictions": seven}).endswith("c4 10.0 % and 2 more")


def test_a_line_and_a_row_say_that_an_image_is_unknown() -> None:
    columns = Columns.of(endpoints()["classify"])
    found = {"file": "a", "predictions": [{"label": "rose", "score": 0.61}], "unknown": True, "warnings": ["x", "y"]}

    assert columns.summary(found) == "unknown, of the classes the best is rose 61.0 %"
    assert columns.summary({**found, "predictions": []}) == "unknown"
    assert columns.summary({**found, "unknown": False}) == "rose 61.0 %"
    (row,) = columns.rows(found)
    assert dict(zip(columns.head, row, strict=True))["warnings"] == "x y"


def test_a_long_vector_is_cut_in_a_line_and_whole_in_a_row() -> None:
    columns = Columns.of(endpoints()["embed"])
    found = {"file": "a", "embedding": {"encoding": "float", "dimensions": 99, "data": [0.5] * 99}}

    assert columns.summary(found).endswith("...")
    assert next(iter(columns.rows(found)))[5] == " ".join(["0.5"] * 99)


def test_a_problem_has_its_code() -> None:
    assert records.code_of(PROBLEM) == "image_corrupt"
    assert records.code_of({"file": "a.png", "predictions": []}) == ""
