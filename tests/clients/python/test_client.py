"""The client with threads: it repeats what may pass, within its deadline, and raises the rest."""

import inspect
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx
import pytest
from resnest_client import Client, NoAnswerError, RequestError, RetryPolicy, ServiceError, endpoints

from tests.clients.python.answers import answer, problem

ClientOf = Callable[..., Client]
TRICKLE_S = 10  # longer than the grace after a deadline


def in_turn(*responses: httpx.Response | Exception) -> Callable[[httpx.Request], httpx.Response]:
    """Return a function that gives these responses one after the other, and notes the requests."""
    left: Iterator[httpx.Response | Exception] = iter(responses)

    def give(request: httpx.Request) -> httpx.Response:
        give.seen.append(request)  # type: ignore[attr-defined]
        response = next(left)
        if isinstance(response, Exception):
            raise response
        return response

    give.seen = []  # type: ignore[attr-defined]
    return give


@contextmanager
def trickling() -> Iterator[str]:
    """Yield the address of a server that sends its answer byte by byte, for `TRICKLE_S` seconds."""

    class Trickle(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            end = time.monotonic() + TRICKLE_S
            with suppress(OSError):
                while time.monotonic() < end:
                    self.wfile.write(b" ")
                    time.sleep(0.05)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Trickle) as server:
        server.daemon_threads = True
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_failure_that_passes_is_not_seen(client_of: ClientOf) -> None:
    give = in_turn(problem(503, "overloaded"), httpx.ConnectError("refused"), answer("ClassifyResponse"))

    assert client_of(give).classify(b"image").predictions
    assert [request.content for request in give.seen] == [b"image"] * 3  # type: ignore[attr-defined]


def test_the_service_is_obeyed_when_it_says_when_to_return(client_of: ClientOf) -> None:
    give = in_turn(problem(429, "rate_limited", **{"Retry-After": "1"}), answer("ClassifyResponse"))
    started = time.monotonic()

    client_of(give).classify(b"image")

    assert time.monotonic() - started >= 1


def test_a_wrong_request_is_raised_at_once(client_of: ClientOf) -> None:
    with pytest.raises(RequestError) as caught:
        client_of(in_turn(problem(422, "image_corrupt"))).classify(b"image")

    assert caught.value.code == "image_corrupt"


def test_the_last_failure_is_raised(client_of: ClientOf) -> None:
    give = in_turn(problem(500, "internal"), problem(502, "internal"), problem(503, "overloaded"))

    with pytest.raises(ServiceError, match="overloaded"):
        client_of(give, retries=RetryPolicy(attempts=3, backoff_s=0.001)).classify(b"image")


def test_a_wait_beyond_the_deadline_is_not_begun(client_of: ClientOf) -> None:
    give = in_turn(problem(503, "overloaded", **{"Retry-After": "50"}))
    started = time.monotonic()

    with pytest.raises(ServiceError):
        client_of(give, timeout_s=20).classify(b"image")

    assert time.monotonic() - started < 15


def test_a_later_attempt_has_less_time(client_of: ClientOf) -> None:
    give = in_turn(problem(503, "overloaded"), answer("ClassifyResponse"))
    retries = RetryPolicy(backoff_s=0.05, jitter=lambda limit: limit)

    client_of(give, timeout_s=2, retries=retries).classify(b"image")

    first, second = (float(request.headers["Request-Timeout"]) for request in give.seen)  # type: ignore[attr-defined]
    assert 2 - 0.01 <= first <= 2
    assert second <= first - 0.05


def test_no_service_is_no_answer() -> None:
    told = pytest.raises(NoAnswerError, match=r"service at http://127\.0\.0\.1:1: ")
    with Client("http://127.0.0.1:1/", retries=RetryPolicy(attempts=1)) as client, told:
        client.models()


def test_other_options_share_the_connections(client_of: ClientOf) -> None:
    give = in_turn(answer("ClassifyResponse"), answer("ClassifyResponse"))
    client = client_of(give, key="rsn_x")

    client.with_options(priority=6).classify(b"image")
    client.classify(b"image")

    first, second = give.seen  # type: ignore[attr-defined]
    assert (first.headers["Priority"], first.headers["Authorization"]) == ("u=6", "Bearer rsn_x")
    assert "Priority" not in second.headers


def test_a_client_with_other_options_leaves_the_connections_open(client_of: ClientOf) -> None:
    client = client_of(in_turn(answer("ClassifyResponse"), answer("ClassifyResponse")))

    with client.with_options(timeout_s=2) as other:
        other.classify(b"image")

    assert client.classify(b"image").predictions


def test_a_body_that_comes_byte_by_byte_ends_with_the_deadline() -> None:
    with trickling() as url, Client(url, timeout_s=0.01) as client:
        started = time.monotonic()
        with pytest.raises(NoAnswerError) as caught:
            client.models()

    assert caught.value.is_late
    assert time.monotonic() - started < TRICKLE_S / 2


def test_a_folder_is_classified_image_by_image(client_of: ClientOf, tmp_path: Path) -> None:
    for name in ("a.png", "b.jpg", "c.txt"):
        tmp_path.joinpath(name).write_bytes(name.encode())

    def give(request: httpx.Request) -> httpx.Response:
        assert dict(request.url.params) == {"top_k": "1"}
        return problem(422, "image_corrupt") if request.content == b"a.png" else answer("ClassifyResponse")

    failed, answered = client_of(give).classify_folder(tmp_path, top_k=1)

    assert (failed.image.name, answered.image.name) == ("a.png", "b.jpg")
    assert isinstance(failed.error, RequestError)
    assert answered.result().predictions


@pytest.mark.parametrize("name", ["classify", "compare", "segment", "detect", "embed", "explain", "models", "model"])
def test_a_method_has_the_parameters_and_the_description_of_its_endpoint(name: str) -> None:
    method, endpoint = getattr(Client, name), getattr(endpoints, name)

    assert inspect.signature(method) == inspect.signature(endpoint)
    assert method.__doc__ == endpoint.__doc__
