"""The words for invalid values."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from service.gateway.http import mistakes
from service.tasks import endpoints


class Query(BaseModel):
    """Members with each kind of bound that the routes have."""

    whole: int = Field(default=1, ge=1, le=10)
    number: float = Field(default=0.5, ge=0.25, lt=1, allow_inf_nan=False)
    switch: bool = False
    form: Literal["png", "rle", "none"] = "png"
    text: Annotated[str, Field(max_length=3)] = ""
    once: list[str] = Field(default=[], max_length=1)
    few: list[str] = Field(default=[], max_length=3)
    word: Annotated[str, Field(pattern="^[a-z]+$")] = "a"
    model_config = ConfigDict(extra="forbid")


WORDS: list[tuple[dict[str, Any], str]] = [
    ({"whole": "x"}, "It must be a whole number."),
    ({"whole": "1.5"}, "It must be a whole number."),
    ({"whole": "9" * 5000}, "It must be a whole number."),
    ({"whole": 0}, "It must be at least 1."),
    ({"whole": 11}, "It must be at most 10."),
    ({"number": "x"}, "It must be a number."),
    ({"number": "nan"}, "It must be a finite number."),
    ({"number": 0}, "It must be at least 0.25."),
    ({"number": 1}, "It must be less than 1."),
    ({"switch": "maybe"}, "It must be true or false."),
    ({"form": "jpg"}, "It must be 'png', 'rle' or 'none'."),
    ({"text": "long"}, "It must have at most 3 characters."),
    ({"text": None}, "It must be text."),
    ({"once": ["a", "b"]}, "It must be given at most once."),
    ({"few": ["a"] * 4}, "It must be given at most 3 times."),
    ({"few": {}}, "It must be a list."),
    ({"word": "A1"}, "It must match ^[a-z]+$."),
    ({"other": "1"}, "There is no such parameter."),
]


@pytest.mark.parametrize(("values", "words"), WORDS, ids=lambda each: str(each)[:40])
def test_a_mistake_is_one_sentence_without_a_term_of_python(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as found:
        Query.model_validate(values)
    assert [mistakes.describe(error) for error in found.value.errors()] == [words]


def test_what_is_no_json_says_where_it_ends_to_be_json() -> None:
    with pytest.raises(ValidationError) as found:
        Query.model_validate_json("{")
    (error,) = found.value.errors()
    assert mistakes.describe(error) == "It is not JSON: EOF while parsing an object at line 1 column 1."


@pytest.mark.parametrize(("name", "meant"), [("topk", "top_k"), ("Top_K", "top_k"), ("min-score", "min_score")])
def test_a_misspelt_name_gets_the_one_that_was_meant(name: str, meant: str) -> None:
    known = list(endpoints()["classify"].query.model_fields)
    assert f"Did you mean {meant}? This route has model, top_k" in mistakes.unknown(name, known)


def test_a_name_like_no_other_gets_all_of_them_in_time_however_long_it_is() -> None:
    assert mistakes.unknown("x" * 10**6, ["top_k"]) == "There is no such parameter. This route has top_k."
