"""The wait estimate: the mean service time and the margin for its error."""

import random

import pytest

from service.gateway.scheduling.wait_estimate import MAX_MARGIN, ErrorMargin, ServiceTime


def test_a_first_answer_of_a_cold_worker_does_not_stand_for_a_full_house() -> None:
    """Such a sample of 1.8 s was once scaled by 16 slots, and the next callers were rejected for a wait of minutes."""
    service_time = ServiceTime()
    service_time.note(1.8, 16, failed=False)
    assert service_time.mean_s == 1.8

    service_time.note(0.03, 16, failed=False)
    assert service_time.mean_s == pytest.approx(0.48), "the second sample replaces the first"
    service_time.note(0.06, 16, failed=False)
    assert service_time.mean_s == pytest.approx(0.72), "the mean of the second and third"


def test_the_pace_of_a_full_house_is_known_after_a_few_who_were_alone() -> None:
    service_time = ServiceTime()
    for _ in range(5):
        service_time.note(0.1, 16, failed=False)

    assert service_time.mean_s == pytest.approx(1.0)
    for _ in range(20):
        service_time.note(0.1, 16, failed=False)
    assert service_time.mean_s == pytest.approx(1.6, rel=0.2)


def test_a_stall_of_one_who_is_alone_is_not_taken_for_as_many_as_there_are_places() -> None:
    service_time = ServiceTime()
    for _ in range(20):
        service_time.note(0.1, 1, failed=False)
    service_time.note(0.15, 16, failed=False)
    assert service_time.mean_s == pytest.approx(0.11), "a tenth of twice the mean, not of 2.4 s"

    service_time.note(10.0, 16, failed=False)
    assert service_time.mean_s == pytest.approx(0.11 * 0.9 + 1.0), "the measured time itself is not bounded"


def test_a_failure_is_never_more_than_one_of_many() -> None:
    service_time = ServiceTime()
    service_time.note(0.1, 1, failed=False)
    service_time.note(10.0, 1, failed=True)

    assert service_time.mean_s == pytest.approx(1.09)


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
    """A rejected caller gives no sample, so with a larger margin the service might never be asked again."""
    margin = ErrorMargin()
    for _ in range(60):
        margin.note(0.01, 3600.0, at_least=True)
    assert margin.share == MAX_MARGIN

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
