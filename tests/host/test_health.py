"""Health checks of servers that answer, report failures, or are not there."""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
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


def test_a_door_that_is_not_there_is_not_ready(tmp_path: Path) -> None:
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


def write_worker(folder: Path, management: str, models: str, started_s_ago: float = 0.0) -> None:
    """Write what `worker` writes into its folder, so long ago."""
    file = folder / health.CONFIGURATION
    file.write_text(f"management_address={management}\nload_models={models}\n", encoding="utf-8")
    started = time.time() - started_s_ago
    os.utime(file, (started, started))


def test_a_worker_is_ready_with_any_of_its_models_or_with_all_that_it_did_not_leave_out(
    address: str, tmp_path: Path
) -> None:
    write_worker(tmp_path, address, "up,down")

    assert health.unready({}, tmp_path, "any") == []
    assert health.unready({}, tmp_path, "all") == ["down"]

    write_worker(tmp_path, address, "up,whole")
    assert health.unready({}, tmp_path, "all") == []


def test_a_model_that_does_not_load_holds_the_start_of_a_worker_up_for_a_bounded_time(
    address: str, tmp_path: Path
) -> None:
    """Otherwise one damaged model keeps every pod that is started from becoming ready, and all models with it."""
    write_worker(tmp_path, address, "up,down", started_s_ago=290)
    assert health.unready({}, tmp_path, "all", all_for_s=300) == ["down"]

    write_worker(tmp_path, address, "up,down", started_s_ago=310)
    assert health.unready({}, tmp_path, "all", all_for_s=300) == []


def test_a_worker_without_any_model_never_becomes_ready(address: str, tmp_path: Path) -> None:
    write_worker(tmp_path, address, "down,none", started_s_ago=3600)

    assert health.unready({}, tmp_path, "all", all_for_s=300) == ["down", "none"]


def test_a_port_that_is_none_is_told_by_its_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(ValueError, match="RESNEST_PORT"):
        health.unready({"RESNEST_PORT": "x"}, None, "all")
