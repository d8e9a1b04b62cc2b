"""Health checks of servers that answer, report failures, or are not there."""

import json
import os
import subprocess
import sys
import tempfile
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
    "/readyz?require=all": (503, {}),
    "/readyz?require=any": (200, {}),
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
    assert health.gateway_is_ready(address, "any")
    assert not health.gateway_is_ready(address)


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


def test_the_probe_of_a_container_loads_nothing_but_the_standard_library() -> None:
    """It runs every five seconds: with the commands' imports it took 0.7 s of a core each time."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "service.host.health", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}

    assert "service.host.run_folders" in loaded
    assert not loaded & {"numpy", "pydantic", "click", "PIL", "service.models.cards"}


def test_the_probe_names_what_is_not_ready_and_fails(tmp_path: Path) -> None:
    port = str(free_port())
    done = subprocess.run(
        [sys.executable, "-m", "service.host.health"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TMPDIR": str(tmp_path), "RESNEST_PORT": port},
    )

    assert (done.returncode, done.stderr) == (1, f"not ready: http://127.0.0.1:{port}\n")


def test_a_worker_is_ready_with_any_of_its_models_or_with_all_that_it_did_not_leave_out(
    address: str, tmp_path: Path
) -> None:
    configuration = f"management_address={address}\nload_models=up,down\n"
    (tmp_path / health.CONFIGURATION).write_text(configuration, encoding="utf-8")
    (tmp_path / health.REFUSED).write_text("refused\n", encoding="utf-8")

    assert health.unready({}, tmp_path, "any") == []
    assert health.unready({}, tmp_path, "all") == ["down", "refused"]


def test_a_port_that_is_none_is_told_by_its_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(ValueError, match="RESNEST_PORT"):
        health.unready({"RESNEST_PORT": "x"}, None, "all")
