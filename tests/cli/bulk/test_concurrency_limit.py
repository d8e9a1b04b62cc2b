"""The limit follows latencies of a simulated service."""

from service.cli.bulk.concurrency_limit import (
    LONGEST_PAUSE_S,
    MOST_QUEUED,
    PROBE_EVERY,
    REMEMBERED,
    WINDOW,
    ConcurrencyLimit,
)


def settle(
    limit: ConcurrencyLimit, servers: int, others: float = 0.0, answers: int = 1000, seconds: float = 1.0
) -> int:
    """Return the limit after answers of a service that works on `servers` images at a time, each in `seconds`.

    `others` are the images of other callers that are always ahead. A probe at the end does not count.
    """
    limits = []
    for _ in range(answers):
        limit.answered(seconds * max(1.0, (limit.current + others) / servers))
        limits.append(limit.current)
    return max(limits[-(len(limits) // 4 or 1) :])


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


def test_answers_that_no_model_computed_say_nothing_of_the_latency() -> None:
    alone, mixed = ConcurrencyLimit(64), ConcurrencyLimit(64)
    for _ in range(5):
        mixed.answered_without_work()  # broken files are answered in no time
    for limit in (alone, mixed):
        settle(limit, 16)

    assert mixed.current == alone.current
    assert mixed.pause_s == 0.0


def test_a_run_of_cached_answers_alone_raises_the_limit() -> None:
    limit = ConcurrencyLimit(64)
    for _ in range(10_000):
        limit.answered_without_work()

    assert limit.current == 64


def test_cached_answers_among_others_do_not_raise_the_limit() -> None:
    limit = ConcurrencyLimit(64)
    for number in range(5000):
        limit.answered(max(1.0, limit.current / 4))
        for _ in range(number % 4):
            limit.answered_without_work()

    assert limit.current <= 4 + MOST_QUEUED + 1


def test_images_that_take_longer_than_those_before_slow_the_run_down_for_some_windows_only() -> None:
    limit = ConcurrencyLimit(64)
    settle(limit, 4, seconds=0.005)  # a folder of thumbnails
    settle(limit, 4, seconds=0.030, answers=200)
    assert limit.current == 1
    assert limit.pause_s > 0

    assert settle(limit, 4, seconds=0.030, answers=(REMEMBERED + PROBE_EVERY) * WINDOW) >= 4
    assert limit.pause_s == 0.0


def test_the_limit_does_not_creep_up_while_latencies_are_forgotten() -> None:
    for servers in (1, 4, 16):
        limit = ConcurrencyLimit(64)
        highest = 0
        for _ in range(20):
            highest = max(highest, settle(limit, servers, answers=REMEMBERED * WINDOW))

        assert highest <= servers + MOST_QUEUED + 1


def test_a_probe_ends_where_the_service_becomes_busy_in_it() -> None:
    limit = ConcurrencyLimit(64)
    while limit.current < 4:
        settle(limit, 4, answers=1)
    while limit.current > 1:
        settle(limit, 4, answers=1)  # until the probe begins
    limit.busy()

    assert limit.current == 2
    assert 4 <= settle(limit, 4) <= 6
