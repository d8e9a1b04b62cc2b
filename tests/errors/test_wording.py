"""Problem documents in one line."""

from typing import Any

import pytest

from service.errors.wording import first_of, with_choices

TOP_K = {"parameter": "top_k", "detail": "It must be at least 1."}
LANG = {"parameter": "lang", "detail": "It is missing."}


def test_one_row_is_its_name_and_what_is_wrong() -> None:
    assert first_of([TOP_K]) == "top_k: It must be at least 1."


def test_of_several_rows_the_first_is_worded_and_the_others_are_counted() -> None:
    assert first_of([TOP_K, LANG, LANG]) == "top_k: It must be at least 1. See errors for 2 more."


def test_a_row_without_a_name_is_about_the_body() -> None:
    assert first_of([{"parameter": "", "detail": "It must be an object."}]) == "body: It must be an object."


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({}, "No such model."),
        ({"available": ["a", "b"]}, "No such model. Available: a, b."),
        ({"available": []}, "No such model. Available: none."),
        ({"accepted": ["image/png"]}, "No such model. Accepted: image/png."),
        ({"available": None}, "No such model."),
        ({"available": "a"}, "No such model."),
    ],
)
def test_the_values_to_choose_from_follow_the_detail(members: dict[str, Any], words: str) -> None:
    assert with_choices({"detail": "No such model.", **members}) == words
