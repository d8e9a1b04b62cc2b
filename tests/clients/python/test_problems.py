"""The exceptions for answers that are no results."""

import pickle
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
from resnest_client.problems import (
    AccessError,
    ClientError,
    LimitError,
    NoAnswerError,
    ProblemError,
    RequestError,
    ServiceError,
    error_of,
)

from service.errors import Unauthenticated, every_error
from service.gateway.routes import examples
from tests.clients.python.answers import problem


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, RequestError),
        (401, AccessError),
        (403, AccessError),
        (404, RequestError),
        (408, ServiceError),
        (413, RequestError),
        (422, RequestError),
        (429, LimitError),
        (500, ServiceError),
        (503, ServiceError),
    ],
)
def test_the_status_chooses_the_class(status: int, kind: type[ProblemError]) -> None:
    assert type(error_of(problem(status, "some_code"))) is kind


@pytest.mark.parametrize("error", every_error(), ids=lambda error: error.code())
def test_every_problem_of_the_service_is_read(error: type) -> None:
    document = examples.problem(error)

    found = error_of(httpx.Response(document["status"], json=document))

    assert (found.code, found.status) == (document["code"], document["status"])
    assert found.problem.model_dump(exclude_unset=True) == document


@pytest.mark.parametrize(("reason", "is_named"), [("missing", True), ("invalid", False)])
def test_a_request_without_a_key_is_told_the_parameter_for_it(reason: str, is_named: bool) -> None:  # noqa: FBT001
    document = {**examples.problem(Unauthenticated), "reason": reason}

    assert ("Client(url, key=KEY)" in str(error_of(httpx.Response(401, json=document)))) is is_named


def test_the_exception_says_what_happened_and_has_what_to_quote() -> None:
    error = error_of(problem(429, "rate_limited", **{"Retry-After": "7"}))

    assert str(error) == "429 rate_limited: Why."
    assert (error.retry_after_s, error.request_id) == (7.0, "r-1")


@pytest.mark.parametrize(
    ("member", "values", "words"),
    [
        ("available", ["a", "b"], "Why. Available: a, b."),
        ("available", [], "Why. Available: none."),
        ("accepted", ["image/png"], "Why. Accepted: image/png."),
    ],
)
def test_the_message_has_the_values_to_choose_from(member: str, values: list[str], words: str) -> None:
    document = problem(404, "model_not_found").json()
    error = error_of(httpx.Response(404, json={**document, member: values}))

    assert str(error) == f"404 model_not_found: {words}"


@pytest.mark.parametrize("value", ["", "soon", "-1", "1.5", "Wed, 21 Oct 2026", "Wed, 99 Oct 2026 07:28:00 GMT"])
def test_a_retry_after_that_is_neither_seconds_nor_a_date_is_ignored(value: str) -> None:
    assert error_of(problem(503, "overloaded", **{"Retry-After": value})).retry_after_s is None


@pytest.mark.parametrize(("after_s", "expected_s"), [(20, 20), (-3600, 0)])
@pytest.mark.parametrize("zone", ["GMT", "-0000"])
def test_a_retry_after_may_be_a_date_as_proxies_send_it(after_s: int, expected_s: int, zone: str) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=after_s), usegmt=True).replace("GMT", zone)

    error = error_of(problem(503, "overloaded", **{"Retry-After": date}))

    assert error.retry_after_s == pytest.approx(expected_s, abs=2)


def test_a_redirection_names_where_the_service_is() -> None:
    error = error_of(httpx.Response(301, headers={"Location": "https://a.example/v1/models"}, content=b"<html>"))

    assert (type(error), error.code) == (RequestError, "http_301")
    assert "redirects to https://a.example/v1/models" in str(error)


@pytest.mark.parametrize(
    "error",
    [error_of(problem(429, "rate_limited", **{"Retry-After": "7"})), NoAnswerError("refused", is_late=True)],
    ids=lambda error: type(error).__name__,
)
def test_a_pool_of_processes_can_pass_an_exception_on(error: ClientError) -> None:
    passed = pickle.loads(pickle.dumps(error))  # noqa: S301 - the test's own

    assert (type(passed), str(passed), vars(passed)) == (type(error), str(error), vars(error))


@pytest.mark.parametrize("content", [b"<html>Bad Gateway</html>", b"", b'{"error": 1}', b"\xff"])
def test_an_answer_of_a_proxy_becomes_a_problem_with_the_status_as_its_code(content: bytes) -> None:
    error = error_of(httpx.Response(502, content=content))

    assert isinstance(error, ServiceError)
    assert (error.code, error.status) == ("http_502", 502)
    assert error.problem.detail
