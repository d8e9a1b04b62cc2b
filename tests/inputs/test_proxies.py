"""`evaluate --url` in networks with proxies."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from service.errors import BodyTooLarge
from service.measure.accuracy.remote import Service
from service.models.cards import CardError


class Proxy(BaseHTTPRequestHandler):
    """Answers with its own pages, as a proxy in front of a service does."""

    def do_GET(self) -> None:
        self._answer(200, b"direct")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(int(self.path.rpartition("/")[2]), b"<html>no")

    def version_string(self) -> str:
        return "nginx"

    def log_message(self, *_words: Any) -> None:
        return

    def _answer(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def url() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Proxy)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_service_on_this_machine_is_asked_past_the_proxy_of_the_environment(
    url: str, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert Service(url.replace("127.0.0.1", host)).ask("/") == b"direct"


def test_another_host_is_asked_through_the_proxy(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("http_proxy", url)
    assert Service("http://service.example").ask("/") == b"direct"


def test_a_body_that_a_proxy_refuses_is_refused_as_one_image_and_the_proxy_is_named(url: str) -> None:
    with pytest.raises(BodyTooLarge, match=r"the proxy nginx before http://127\.0\.0\.1:.* answered 413"):
        Service(url).ask("/413", b"image")


@pytest.mark.parametrize("status", [403, 502])
def test_another_page_of_a_proxy_ends_the_run_in_a_sentence_that_names_it(url: str, status: int) -> None:
    with pytest.raises(CardError, match=f"answered {status} .*of a proxy"):
        Service(url).ask(f"/{status}", b"image")
