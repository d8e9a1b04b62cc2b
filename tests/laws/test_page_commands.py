"""Every command that a page shows is run by a test, or it is said why none runs it."""

from pathlib import Path

import pytest

from tests.laws.page_commands import LEFT_OUT, RUN_BY, commands, left_out, runnable
from tests.laws.sources import ROOT, listed
from tests.laws.test_docs import PAGES, names


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_a_command_is_run_by_a_test_or_it_is_said_why_not(page: Path) -> None:
    unknown = [line for line in commands(page) if names(page) not in RUN_BY and left_out(line) is None]

    assert not unknown, listed(unknown)


@pytest.mark.parametrize("page", RUN_BY)
def test_the_test_of_a_page_is_there_and_has_something_to_run(page: str) -> None:
    assert (ROOT / RUN_BY[page]).is_file()
    assert runnable(page)


def test_every_reason_is_for_a_command_of_a_page() -> None:
    used = {left_out(line) for page in PAGES for line in commands(page)}

    assert set(LEFT_OUT) <= used, listed(set(LEFT_OUT) - used)


def test_the_tests_that_reasons_name_are_there() -> None:
    named = {word.rstrip(";,") for reason in LEFT_OUT.values() for word in reason.split() if word.startswith("tests/")}

    assert {name for name in named if not (ROOT / name).exists()} == set()
