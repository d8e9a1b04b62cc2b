"""How much room a promise leaves."""

import random

import pytest

from service.gateway.margins import Margin


def test_there_is_no_room_before_anything_is_known() -> None:
    assert Margin().s == 0


@pytest.mark.parametrize("later_s", [-0.2, 0.0, 0.3])
def test_few_end_after_what_was_foretold_and_the_room_for_it(later_s: float) -> None:
    margin, chance = Margin(), random.Random(3)
    late = 0
    for number in range(2000):
        error_s = later_s + chance.uniform(-0.1, 0.1)
        late += number > 200 and error_s > margin.s
        margin.note(error_s)

    assert late < 20
    assert later_s + 0.1 < margin.s < later_s + 0.4


def test_what_was_given_up_shows_only_that_it_takes_at_least_so_long() -> None:
    margin = Margin()
    margin.note(-5.0, at_least=True)
    assert margin.s == 0

    margin.note(0.5, at_least=True)
    assert margin.s > 0
