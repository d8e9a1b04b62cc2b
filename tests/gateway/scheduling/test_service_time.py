"""What a few times show of a full house."""

import pytest

from service.gateway.scheduling.service_time import ServiceTime


def test_a_first_answer_of_a_cold_worker_does_not_stand_for_a_full_house() -> None:
    """It took 1.8 s, sixteen of them were foretold, and the callers who came next were refused for a minute's wait."""
    pace = ServiceTime()
    pace.note(1.8, 16, failed=False)
    assert pace.mean_s == 1.8

    pace.note(0.03, 16, failed=False)
    assert pace.mean_s == pytest.approx(0.48), "the first is forgotten"
    pace.note(0.06, 16, failed=False)
    assert pace.mean_s == pytest.approx(0.72), "the mean of the two"


def test_the_pace_of_a_full_house_is_known_after_a_few_who_were_alone() -> None:
    pace = ServiceTime()
    for _ in range(5):
        pace.note(0.1, 16, failed=False)

    assert pace.mean_s == pytest.approx(1.0)
    for _ in range(20):
        pace.note(0.1, 16, failed=False)
    assert pace.mean_s == pytest.approx(1.6, rel=0.2)


def test_a_stall_of_one_who_is_alone_is_not_taken_for_as_many_as_there_are_places() -> None:
    pace = ServiceTime()
    for _ in range(20):
        pace.note(0.1, 1, failed=False)
    pace.note(0.15, 16, failed=False)
    assert pace.mean_s == pytest.approx(0.11), "a tenth of twice the pace, not of 2.4 s"

    pace.note(10.0, 16, failed=False)
    assert pace.mean_s == pytest.approx(0.11 * 0.9 + 1.0), "it takes at least so long"


def test_a_failure_is_never_more_than_one_of_many() -> None:
    pace = ServiceTime()
    pace.note(0.1, 1, failed=False)
    pace.note(10.0, 1, failed=True)

    assert pace.mean_s == pytest.approx(1.09)
