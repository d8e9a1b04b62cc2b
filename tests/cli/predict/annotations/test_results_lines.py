"""Lines of results."""

from pathlib import Path

import pytest

from service.cli.predict.annotations import results_lines
from service.cli.predict.failures import RunFailedError


def test_each_line_is_an_answer_or_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text('{"file": "a.jpg", "predictions": []}\n{"file": "b.jpg", "error": {"code": "image_corrupt"}}\n')

    with results_lines.opened(path) as answers:
        found = list(answers)

    assert [(answer.line, answer.failed) for answer in found] == [(1, False), (2, True)]


@pytest.mark.parametrize(
    "line", ["a.jpg cat", "[1]", '{"model": 1}', '{"file": "-", "predictions": []}', '{"file": "a']
)
def test_another_line_is_an_error_that_names_its_number(line: str, tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text('{"file": "a.jpg"}\n' + line)

    with results_lines.opened(path) as answers, pytest.raises(RunFailedError, match="line 2 of"):
        list(answers)
