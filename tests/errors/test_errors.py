"""The tree of errors in the docstring, and the fields of each error class."""

import re

import pytest

from service import errors
from service.errors import ServiceError

EVERY = errors.every_error()
STATUSES = {400, 401, 403, 404, 405, 406, 408, 411, 412, 413, 415, 422, 429, 431, 500, 502, 503, 504}


def drawn_tree() -> dict[str, int]:
    """Return the classes and statuses in the module's docstring."""
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
def test_what_may_be_retried_soon_is_what_is_unavailable_or_too_much_for_now(error: type[ServiceError]) -> None:
    assert (error.retry_after_s is not None) == (error.status in {429, 503})
