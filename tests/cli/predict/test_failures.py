"""The errors of a file and of a run."""

from service.cli.predict.failures import InputProblemError


def test_the_problem_of_a_file_has_a_code_and_a_detail() -> None:
    error = InputProblemError("file_unreadable", "it is locked")

    assert error.problem == {"code": "file_unreadable", "detail": "it is locked"}
    assert str(error) == "it is locked"
