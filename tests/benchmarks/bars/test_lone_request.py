"""Single requests and the model in process take turns, and only successes are timed."""

import threading
from collections.abc import Iterator
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
    sides = {name: lambda _, name=name: order.append(name) for name in ("served", "in_process")}
    times = times_in_turn(sides, UPLOADS, WINDOW + 1)

    assert {side: len(found) for side, found in times.items()} == {"served": 2 * WINDOW, "in_process": 2 * WINDOW}
    assert order == (["served"] * (WARM_UP + WINDOW) + ["in_process"] * (WARM_UP + WINDOW)) * 2


def test_a_caller_sends_images_to_the_path_and_query_over_one_connection(url: str) -> None:
    caller = Caller(url)
    for upload in UPLOADS:
        caller(upload)
    caller.close()

    assert Server.seen == [("/v1/classify?model=mine", upload) for upload in UPLOADS]


def test_an_answer_that_is_no_success_ends_the_measurement(url: str) -> None:
    caller = Caller(url)
    with pytest.raises(ValueError, match="503"):
        caller(b"third")
    caller.close()
