"""The limit follows latencies of a simulated service."""

from service.cli.bulk.concurrency_limit import LONGEST_PAUSE_S, MOST_QUEUED, ConcurrencyLimit


def settle(limit: ConcurrencyLimit, servers: int, others: float = 0.0, answers: int = 1000) -> int:
    """Return the limit after answers of a service that works on `servers` images at a time, each in one second.

    `others` are the images of other callers that are always ahead.
    """
    for _ in range(answers):
        limit.answered(max(1.0, (limit.current + others) / servers))
    return limit.current


def test_the_limit_grows_until_images_queue_in_the_service() -> None:
    for servers in (1, 4, 16):
        assert servers <= settle(ConcurrencyLimit(64), servers) <= servers + MOST_QUEUED + 1


def test_the_limit_is_never_above_the_most() -> None:
    assert settle(ConcurrencyLimit(8), 100) == 8


def test_the_limit_yields_to_other_callers_and_returns_when_they_have_left() -> None:
    limit = ConcurrencyLimit(64)
    alone = settle(limit, 16)

    beside_others = settle(limit, 16, others=64)

    assert beside_others < alone / 2
    assert settle(limit, 16, answers=2000) >= 16


def test_a_slow_service_gets_pauses_between_single_requests_and_a_fast_one_none() -> None:
    limit = ConcurrencyLimit(64)
    settle(limit, 4)
    assert limit.pause_s == 0.0

    settle(limit, 4, others=12)
    assert limit.current == 1
    assert 0 < limit.pause_s <= LONGEST_PAUSE_S

    settle(limit, 4)
    assert limit.pause_s == 0.0


def test_latencies_that_differ_with_the_images_do_not_stop_the_growth() -> None:
    limit, sizes = ConcurrencyLimit(64), (0.5, 1.0, 1.0, 1.5, 1.0, 0.7, 1.2)
    for number in range(2000):
        limit.answered(max(1.0, limit.current / 16) * sizes[number % len(sizes)])

    assert limit.current >= 12


def test_a_busy_service_halves_the_limit_once_for_each_window() -> None:
    limit = ConcurrencyLimit(64)
    before = settle(limit, 16)

    for _ in range(before):
        limit.busy()

    assert limit.current == before // 2


def test_one_request_is_always_in_flight() -> None:
    limit = ConcurrencyLimit(64)
    for _ in range(200):
        limit.busy()
        limit.answered(1.0)

    assert limit.current == 1
