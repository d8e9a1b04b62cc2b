"""Health checks of servers that answer, report failures, or are not there."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from socketserver import UnixStreamServer
from typing import Any

import pytest

from service.host import health
from service.host.processes import free_port

ANSWERS: dict[str, tuple[int, Any]] = {
    "/readyz": (200, {}),
    "/models/up": (200, [{"minWorkers": 2, "workers": [{"status": "UNLOADING"}, {"status": "READY"}]}]),
    "/models/whole": (200, [{"minWorkers": 2, "workers": [{"status": "READY"}, {"status": "READY"}]}]),
    "/models/down": (200, [{"minWorkers": 1, "workers": [{"status": "UNLOADED"}]}]),
    "/models/none": (200, [{"minWorkers": 1, "workers": []}]),
    "/ping": (500, {"status": "Partial Healthy"}),
    "/models/gone": (404, {}),
}


class Handler(BaseHTTPRequestHandler):
    """Answers from the table `ANSWERS`."""

    def do_GET(self) -> None:
        status, body = ANSWERS[self.path]
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: object) -> None: ...

    def address_string(self) -> str:
        return "client"


@pytest.fixture(params=["tcp", "unix"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a server on TCP, then of one on a Unix socket."""
    if request.param == "tcp":
        server: Any = HTTPServer(("127.0.0.1", 0), Handler)
        url = f"http://127.0.0.1:{server.server_address[1]}"
    else:
        server = UnixStreamServer(str(tmp_path / "socket"), Handler)
        url = f"unix:{tmp_path / 'socket'}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield url
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_gateway_is_ready_when_it_says_so(address: str) -> None:
    assert health.gateway_is_ready(address)


def test_a_model_waits_until_one_of_its_workers_is_ready(address: str) -> None:
    assert health.unready_models(address, ["up", "down", "none", "gone"]) == ["down", "none", "gone"]


def test_a_model_waits_for_all_of_its_workers_where_the_whole_is_asked_for(address: str) -> None:
    assert health.unready_models(address, ["up", "whole", "gone"], whole=True) == ["up", "gone"]


def test_torchserve_has_given_up_when_its_ping_is_a_500(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert health.has_given_up(address)
    monkeypatch.setitem(ANSWERS, "/ping", (200, {"status": "Healthy"}))
    assert not health.has_given_up(address)


def test_a_door_that_is_not_there_is_not_ready(tmp_path: Path) -> None:
    assert not health.has_given_up(f"unix:{tmp_path / 'none'}")
    assert not health.gateway_is_ready(f"http://127.0.0.1:{free_port()}")
    assert health.unready_models(f"unix:{tmp_path / 'none'}", ["up"]) == ["up"]
