"""Options made of a query model, and what they accept."""

from typing import Any

import click
import pytest

from service.cli.predict import query_options
from service.tasks import endpoints
from service.tasks.base import Endpoint


def endpoint(name: str) -> Endpoint[Any]:
    return endpoints()[name]


def names(name: str) -> dict[str, click.Option]:
    return {option.opts[0]: option for option in query_options.options(endpoint(name))}


@pytest.mark.parametrize("name", sorted(endpoints()))
def test_every_parameter_but_the_model_is_an_option_with_its_description(name: str) -> None:
    found = query_options.options(endpoint(name))

    assert {option.name for option in found} == set(endpoint(name).query.model_fields) - {"model"}
    assert all(option.help for option in found)


def test_the_kind_of_an_option_is_that_of_its_parameter() -> None:
    found = names("segment")

    assert isinstance(found["--mask"].type, click.Choice)
    assert found["--confidence"].secondary_opts == ["--no-confidence"]
    assert found["--classes"].multiple


def test_only_what_was_given_is_sent() -> None:
    given = {"top_k": "3", "lang": None, "min_score": None}

    assert query_options.query_of(endpoint("classify"), given) == {"top_k": "3"}
    assert query_options.query_of(endpoint("classify"), {}, "mine@1.0") == {"model": ["mine@1.0"]}


@pytest.mark.parametrize(
    ("given", "reason"),
    [({"top_k": "0"}, "top_k: input should be greater"), ({"min_score": "x"}, "min_score: input should be a valid")],
)
def test_a_value_out_of_range_is_a_wrong_use_of_the_command(given: dict[str, Any], reason: str) -> None:
    with pytest.raises(click.UsageError, match=reason):
        query_options.query_of(endpoint("classify"), given)


def test_pairs_are_parameters_and_a_repeated_list_has_all_values() -> None:
    found = query_options.pairs_of(endpoint("segment"), ["mask=rle", "classes=cat", "classes=dog", "confidence=true"])

    assert found == {"mask": "rle", "classes": ["cat", "dog"], "confidence": "true"}
    assert query_options.encoded(found) == "?mask=rle&classes=cat&classes=dog&confidence=true"


@pytest.mark.parametrize("pair", ["topk=3", "top_k", "model=mine"])
def test_a_pair_that_is_no_parameter_is_refused_with_the_names(pair: str) -> None:
    with pytest.raises(click.UsageError, match="one of the names top_k, lang, min_score"):
        query_options.pairs_of(endpoint("classify"), [pair])


def test_a_flag_is_sent_in_lower_case_and_no_parameter_is_no_query() -> None:
    assert query_options.encoded({"normalise": True}) == "?normalise=true"
    assert query_options.encoded({}) == ""
