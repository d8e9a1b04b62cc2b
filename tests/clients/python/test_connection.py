"""The headers and times of requests."""

from typing import Any

import httpx
import pytest
from resnest_client import AsyncClient, Client, endpoints
from resnest_client.connection import GRACE_S, MAX_REQUEST_TIMEOUT_S, Options, no_answer, read, wait_s
from resnest_client.endpoints import Call
from resnest_client.problems import NoAnswerError, RequestError
from resnest_client.retries import Deadline, RetryPolicy

from service.config.settings import Settings
from service.gateway.http.cors import ALLOWED_HEADERS
from service.gateway.scheduling.request_terms import SECONDS


def test_without_options_only_the_form_of_the_answer_is_asked_for() -> None:
    headers = Options().headers(None, has_image=False)

    assert headers.keys() == {"Accept", "User-Agent"}
    assert headers["User-Agent"].startswith("resnest-client/")


def test_the_options_become_the_headers_that_the_service_reads() -> None:
    headers = Options(key="rsn_x", priority=6).headers(2.5, has_image=True)

    assert headers["Authorization"] == "Bearer rsn_x"
    assert headers["Priority"] == "u=6"
    assert headers["Request-Timeout"] == "2.500"
    assert headers.keys() - {"Accept", "User-Agent"} <= set(ALLOWED_HEADERS)


@pytest.mark.parametrize("left_s", [0.001, 0.0014, 59.9999, 1 / 3])
def test_the_time_that_is_left_is_written_as_the_service_reads_it(left_s: float) -> None:
    assert SECONDS.fullmatch(Options().headers(left_s, has_image=True)["Request-Timeout"])


def test_the_key_is_not_in_a_printed_object() -> None:
    assert "rsn_secret" not in repr(Options(key="rsn_secret"))


def test_an_answer_may_arrive_a_little_after_the_deadline() -> None:
    seen: list[dict[str, Any]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.extensions["timeout"])
        return httpx.Response(200, json={"models": []})

    with Client(timeout_s=4, http=httpx.Client(transport=httpx.MockTransport(answer))) as client:
        client.models()

    assert seen[0]["read"] == pytest.approx(4 + GRACE_S, abs=0.5)
    assert seen[0]["connect"] == pytest.approx(5, abs=0.5)


@pytest.mark.parametrize(("left_s", "is_sent"), [(MAX_REQUEST_TIMEOUT_S, True), (MAX_REQUEST_TIMEOUT_S + 0.1, False)])
def test_a_deadline_that_the_service_does_not_accept_is_not_sent(left_s: float, is_sent: bool) -> None:  # noqa: FBT001
    assert Settings().max_request_timeout_s == MAX_REQUEST_TIMEOUT_S
    assert ("Request-Timeout" in Options().headers(left_s, has_image=True)) is is_sent


def test_line_ends_around_a_key_are_not_sent() -> None:
    assert Options(key=" rsn_x\n").headers(None, has_image=False)["Authorization"] == "Bearer rsn_x"
    assert "Authorization" not in Options(key="\n").headers(None, has_image=False)


@pytest.mark.parametrize("key", ["rsn_x\nrsn_y", "rsn_x y", "rsn_\u2026", "rsn_\xe9", "rsn_\x7f"])
def test_a_key_that_no_header_can_have_is_refused_and_not_repeated(key: str) -> None:
    with pytest.raises(ValueError, match="the key has") as caught:
        Client(key=key)
    with pytest.raises(ValueError, match="the key has"), Client() as client:
        client.with_options(key=key)
    assert key not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        *["", "127.0.0.1:8000", "localhost:8000", "a.example", "/prefix", "ftp://a.example", "http://", "http://[::1"],
        *["http:a", "http://a.example:port", "http://a.example/?top_k=3", "http://a.example/#models"],
    ],
)
def test_what_is_no_url_of_a_service_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="has http:// or https:// and a host"):
        Client(url)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000/v1", "http://[::1]:8000/v1/", "https://a.example/vision/v1//"])
def test_a_url_ends_before_the_version_which_the_client_adds(url: str) -> None:
    for made in (Client, AsyncClient):
        with pytest.raises(ValueError, match="ends before /v1, which the client adds"):
            made(url)


@pytest.mark.parametrize("url", ["http://v1", "http://a.example/v10/", "http://a.example/v1/vision"])
def test_a_host_or_a_prefix_may_be_similar_to_the_version(url: str) -> None:
    Client(url).close()


@pytest.mark.parametrize("url", ["http://[::1]:8000", "HTTPS://a.example/vision/", "http://ann:pr1vate@a.example"])
def test_a_url_may_have_an_address_a_prefix_and_a_user(url: str) -> None:
    Client(url).close()


@pytest.mark.parametrize("content", [b"<html>Welcome</html>", b"", b"[]", b"5", b"{}", b'{"results": []}', b"\xff"])
@pytest.mark.parametrize("call", [endpoints.classify(b"image"), endpoints.models(), endpoints.model("a")])
def test_the_page_of_another_program_is_an_error_that_says_so(content: bytes, call: Call[object]) -> None:
    with pytest.raises(RequestError, match="no answer of resnest-service: check the URL") as caught:
        read(call, httpx.Response(200, content=content))

    assert caught.value.code == "http_200"
    assert RetryPolicy().wait_s(1, caught.value) is None


@pytest.mark.parametrize("late", [httpx.ReadTimeout, httpx.WriteTimeout, httpx.PoolTimeout])
def test_only_a_missing_answer_is_late(late: type[httpx.TimeoutException]) -> None:
    assert no_answer(late(""), "http://a.example").is_late
    assert not no_answer(httpx.ConnectTimeout(""), "http://a.example").is_late
    assert "ConnectError" in str(no_answer(httpx.ConnectError(""), "http://a.example"))


def test_a_missing_answer_names_the_address_without_its_password() -> None:
    error = no_answer(httpx.ConnectError("refused"), "http://ann:pr1vate@a.example:9000/vision")

    assert str(error) == "no answer of the service at http://a.example:9000/vision: refused"


def test_no_attempt_begins_after_the_deadline() -> None:
    options = Options(timeout_s=1, retries=RetryPolicy(backoff_s=5, jitter=lambda limit: limit))
    error = NoAnswerError("refused")

    assert wait_s(options, Deadline(None), 1, error) == 5
    with pytest.raises(NoAnswerError):
        wait_s(options, Deadline(1), 1, error)


def test_the_address_may_have_a_path_prefix() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert str(request.url) == "http://service/prefix/v1/models"
        return httpx.Response(200, json={"models": []})

    with Client("http://service/prefix/", http=httpx.Client(transport=httpx.MockTransport(answer))) as client:
        assert client.send(endpoints.models()) == []
