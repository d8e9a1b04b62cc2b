"""Single requests and the model in process take turns, and only successes are timed."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from benchmarks.bars.lone_request import WARM_UP, WINDOW, Caller, times_in_turn

UPLOADS = [b"first", b"second"]


class Server(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    seen: list[tuple[str, bytes]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.append((self.path, body))
        self.send_response(200 if body in UPLOADS else 503)
        self.send_header("Content-Length", "2")
        self.send_header("Server-Timing", "decode;dur=1.5, inference;dur=20")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *args: object) -> None: ...


@pytest.fixture
def url() -> Iterator[str]:
    Server.seen = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1/classify?model=mine"
        server.shutdown()
        thread.join()


def test_both_sides_take_turns_until_each_has_the_images_that_were_asked_for() -> None:
    order: list[str] = []

    def side(name: str) -> Callable[[bytes], dict[str, float]]:
        def answer(_: bytes) -> dict[str, float]:
            order.append(name)
            return {"decode": 2.0}

        return answer

    times = times_in_turn({name: side(name) for name in ("served", "in_process")}, UPLOADS, WINDOW + 1)

    for found in times.values():
        assert found.pop("decode") == [2.0] * 2 * WINDOW
        assert len(found.pop("all")) == 2 * WINDOW
        assert not found
    assert order == (["served"] * (WARM_UP + WINDOW) + ["in_process"] * (WARM_UP + WINDOW)) * 2


def test_a_caller_sends_images_to_the_path_and_query_over_one_connection(url: str) -> None:
    caller = Caller(url)
    stages = [caller(upload) for upload in UPLOADS]
    caller.close()

    assert stages == [{"decode": 1.5, "inference": 20.0}] * 2
    assert Server.seen == [("/v1/classify?model=mine", upload) for upload in UPLOADS]


def test_an_answer_that_is_no_success_ends_the_measurement(url: str) -> None:
    caller = Caller(url)
    with pytest.raises(ValueError, match="503"):
        caller(b"third")
    caller.close()
