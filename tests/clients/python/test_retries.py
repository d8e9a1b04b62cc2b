"""When a request is repeated, and how long the client waits."""

import pytest
from resnest_client.problems import ClientError, NoAnswerError, error_of
from resnest_client.retries import Deadline, RetryPolicy

from tests.clients.python.answers import problem


def full(limit: float) -> float:
    return limit


POLICY = RetryPolicy(jitter=full)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_failure_that_may_pass_is_repeated(status: int) -> None:
    assert POLICY.wait_s(1, error_of(problem(status, "some_code"))) == 0.25


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 415, 422])
def test_a_wrong_request_is_not_repeated(status: int) -> None:
    assert POLICY.wait_s(1, error_of(problem(status, "some_code"))) is None


def test_a_model_that_was_refused_is_not_asked_again() -> None:
    assert POLICY.wait_s(1, error_of(problem(503, "model_refused"))) is None


def test_a_broken_connection_is_repeated_and_a_late_answer_is_not() -> None:
    assert POLICY.wait_s(1, NoAnswerError("refused")) == 0.25
    assert POLICY.wait_s(1, NoAnswerError("late", is_late=True)) is None
    assert POLICY.wait_s(1, ClientError("other")) is None


def test_the_backoff_doubles_up_to_its_bound() -> None:
    policy = RetryPolicy(attempts=9, backoff_s=1, max_backoff_s=5, jitter=full)

    assert [policy.wait_s(attempt, NoAnswerError("")) for attempt in range(1, 6)] == [1, 2, 4, 5, 5]


def test_the_wait_is_at_least_what_the_service_asks_for() -> None:
    error = error_of(problem(503, "overloaded", **{"Retry-After": "3"}))

    assert RetryPolicy(jitter=lambda _: 0.0).wait_s(1, error) == 3
    assert POLICY.wait_s(2, error) == 3.5


def test_callers_that_were_rejected_together_do_not_return_together() -> None:
    error = error_of(problem(503, "overloaded", **{"Retry-After": "1"}))
    waits = {RetryPolicy().wait_s(3, error) for _ in range(20)}

    assert len(waits) > 15
    assert all(wait is not None and 1 <= wait <= 2 for wait in waits)


def test_a_long_retry_after_ends_the_attempts() -> None:
    assert POLICY.wait_s(1, error_of(problem(503, "overloaded", **{"Retry-After": "31"}))) is None


def test_there_are_at_most_so_many_attempts() -> None:
    assert POLICY.wait_s(3, NoAnswerError("")) is not None
    assert POLICY.wait_s(4, NoAnswerError("")) is None
    assert RetryPolicy(attempts=1).wait_s(1, NoAnswerError("")) is None


def test_a_deadline_is_for_all_attempts_together() -> None:
    now = [100.0]
    deadline = Deadline(2, lambda: now[0])
    now[0] += 1.5

    assert deadline.left_s() == 0.5
    assert deadline.allows(0.4)
    assert not deadline.allows(0.5)
    now[0] += 9
    assert deadline.left_s() == 0.001


def test_without_a_deadline_there_is_always_time() -> None:
    assert Deadline(None).left_s() is None
    assert Deadline(None).allows(1e9)
