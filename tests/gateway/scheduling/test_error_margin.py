"""How much room a promise leaves."""

import random

import pytest

from service.gateway.scheduling.error_margin import MOST, ErrorMargin


def test_there_is_no_room_before_anything_is_known() -> None:
    assert ErrorMargin().share == 0


@pytest.mark.parametrize("later", [0.0, 0.2])
def test_few_take_longer_than_was_foretold_and_the_room_for_it(later: float) -> None:
    margin, chance = ErrorMargin(), random.Random(3)
    late = 0
    for number in range(4000):
        took_s = 2.0 * (1 + later + chance.gauss(0, 0.1))
        late += number > 200 and took_s > 2.0 * (1 + margin.share)
        margin.note(2.0, took_s)

    assert 0 < late < 40
    assert later + 0.2 < margin.share < later + 0.6


def test_there_is_no_room_where_all_ends_sooner_than_foretold() -> None:
    margin = ErrorMargin()
    for _ in range(100):
        margin.note(2.0, 1.0)

    assert margin.share == 0


def test_the_room_has_an_end_however_late_it_was_and_is_given_up_again() -> None:
    """Who is refused teaches nothing, so that a service might never be asked again."""
    margin = ErrorMargin()
    for _ in range(60):
        margin.note(0.01, 3600.0, at_least=True)
    assert margin.share == MOST

    shares = [margin.share]
    for _ in range(100):
        margin.note(1.0, 0.9)
        shares.append(margin.share)
    assert shares == sorted(shares, reverse=True)
    assert margin.share < 0.2


def test_what_was_given_up_shows_only_that_it_takes_at_least_so_long() -> None:
    margin = ErrorMargin()
    margin.note(2.0, 1.0, at_least=True)
    assert margin.share == 0

    margin.note(2.0, 2.5, at_least=True)
    assert margin.share > 0
