"""Problems that the caller can correct."""

from service import errors
from service.errors import client, every_error


def test_every_problem_of_the_caller_is_among_all_errors_and_is_imported_from_the_package() -> None:
    defined = {error.__name__: error for error in every_error() if error.__module__ == client.__name__}

    assert len(defined) == 29
    assert {error.status // 100 for error in defined.values()} == {4}
    assert {name: getattr(errors, name) for name in defined} == defined


def test_invalid_parameters_are_rows_and_the_first_is_the_detail() -> None:
    error = errors.InvalidParameter.of([("top_k", "At most 7."), ("lang", "It is missing.")], limit=7, actual=9)

    assert error.problem() | {"type": ""} == {
        "type": "",
        "title": errors.InvalidParameter.title,
        "status": 422,
        "detail": "top_k: At most 7. See errors for 1 more.",
        "code": "invalid_parameter",
        "limit": 7,
        "actual": 9,
        "errors": [
            {"parameter": "top_k", "detail": "At most 7."},
            {"parameter": "lang", "detail": "It is missing."},
        ],
    }
