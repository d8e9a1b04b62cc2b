"""The problem document of an error."""

import pytest

from service.errors import BodyTooLarge, ImageTooLarge, Internal, InvalidBase64, Overloaded, UnsupportedMediaType
from service.errors.base import ServiceError


@pytest.mark.parametrize(
    ("error", "code"),
    [(ImageTooLarge, "image_too_large"), (InvalidBase64, "invalid_base64"), (Internal, "internal")],
)
def test_the_code_is_the_class_name_in_snake_case(error: type[ServiceError], code: str) -> None:
    assert error.code() == code


def test_a_problem_has_the_members_of_rfc_9457_and_a_code() -> None:
    assert Overloaded("All 32 slots are taken.").problem() == {
        "type": "/problems/overloaded",
        "title": Overloaded.title,
        "status": 503,
        "detail": "All 32 slots are taken.",
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
    problem = ImageTooLarge("Too large.", limit=2**53 - 1, actual=actual).problem()

    assert (problem["limit"], "actual" in problem) == (2**53 - 1, False)


@pytest.mark.parametrize(("seconds", "sent"), [(0.0, 1), (-3.0, 1), (1.0, 1), (2.1, 3), (60, 60)])
def test_when_to_come_again_is_told_in_whole_seconds_and_at_least_one(seconds: float, sent: int) -> None:
    assert Overloaded("Full.", retry_after_s=seconds).retry_after_s == sent
