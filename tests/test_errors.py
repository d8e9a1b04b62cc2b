"""The tree of errors as drawn, and the problem document of each."""

import re

import pytest

from service import errors
from service.errors import BodyTooLarge, ImageTooLarge, Overloaded, ServiceError, UnsupportedMediaType

EVERY = errors.every_error()
STATUSES = {400, 401, 403, 404, 405, 406, 408, 413, 415, 422, 429, 431, 500, 502, 503, 504}


def drawn_tree() -> dict[str, int]:
    """The classes and statuses that the module's docstring draws."""
    rows = re.findall(r"[├└]── (\d{3}) (.+)", errors.__doc__ or "")
    return {name: int(status) for status, names in rows for name in names.split()}


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    assert drawn_tree() == {error.__name__: error.status for error in EVERY}


def test_the_errors_are_listed_by_status() -> None:
    assert [error.status for error in EVERY] == sorted(error.status for error in EVERY)
    assert {error.status for error in EVERY} <= STATUSES


def test_no_two_errors_have_one_code() -> None:
    assert len({error.code() for error in EVERY}) == len(EVERY)


@pytest.mark.parametrize("error", EVERY, ids=lambda error: error.code())
def test_every_error_says_what_it_is_and_what_to_do(error: type[ServiceError]) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", error.code())
    assert error.__doc__
    assert error.title
    assert not error.title.endswith(".")
    assert error.cure.endswith(".")


@pytest.mark.parametrize("error", EVERY, ids=lambda error: error.code())
def test_what_may_be_retried_soon_is_what_is_unavailable_for_now(error: type[ServiceError]) -> None:
    assert (error.retry_after_s is not None) == (error.status in {429, 503})


@pytest.mark.parametrize(
    ("error", "code"),
    [(ImageTooLarge, "image_too_large"), (errors.InvalidBase64, "invalid_base64"), (errors.Internal, "internal")],
)
def test_the_code_is_the_class_name_in_snake_case(error: type[ServiceError], code: str) -> None:
    assert error.code() == code


def test_a_problem_has_the_members_of_rfc_9457_and_a_code() -> None:
    assert Overloaded("All 32 places are taken.").problem() == {
        "type": "/problems/overloaded",
        "title": Overloaded.title,
        "status": 503,
        "detail": "All 32 places are taken.",
        "code": "overloaded",
    }


def test_a_problem_of_a_limit_has_the_limit_and_what_broke_it() -> None:
    problem = BodyTooLarge("The body is too long.", limit=10, actual=11).problem()
    assert (problem["limit"], problem["actual"]) == (10, 11)


def test_a_limit_of_nought_is_told_and_an_unknown_size_is_left_out() -> None:
    problem = BodyTooLarge("The body is too long.", limit=0).problem()
    assert problem["limit"] == 0
    assert "actual" not in problem


def test_further_members_stand_beside_the_others() -> None:
    assert UnsupportedMediaType("A PDF.", accepted=["PNG"]).problem()["accepted"] == ["PNG"]


def test_an_error_reads_as_its_detail() -> None:
    assert str(ImageTooLarge("Too many pixels.")) == "Too many pixels."


@pytest.mark.parametrize("actual", [2**53, 10**23, -(2**80)])
def test_a_number_that_json_cannot_carry_is_left_out_of_a_problem(actual: int) -> None:
    problem = errors.ImageTooLarge("Too large.", limit=2**53 - 1, actual=actual).problem()

    assert (problem["limit"], "actual" in problem) == (2**53 - 1, False)
