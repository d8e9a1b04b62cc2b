"""What `run` checks before it starts anything, and what it does when a child fails. tests/e2e tests the rest."""

import os
import socket
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from service.config.api_keys import KeysError
from service.config.traffic import TrafficError
from service.host import supervisor
from service.host.processes import StopSignal, free_port, free_ports
from service.host.run_options import RunOptions, StartError, require_free_port, require_traffic
from service.host.served_models import model_archive
from service.host.served_models.packaging import Packaged
from service.host.served_models.selection import select_models
from service.models import zoo
from service.models.cards import CardError
from tests.e2e.running import until
from tests.stores import write_store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store of two models, of which only the classifier has a weight file."""
    store = write_store(tmp_path / "store", "tiny-classifier", "tiny-segmenter", weights=False)
    (store / "tiny-classifier" / "weights.safetensors").touch()
    return store


def packaged(options: RunOptions) -> Packaged:
    """Return the selected models as packaged; nothing is written."""
    return Packaged(options.store / model_archive.ARCHIVES, select_models(options, print))


def fake_java(folder: Path, script: str) -> dict[str, str]:
    """Return an environment in which Java is this shell script."""
    java = folder / "java" / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    java.chmod(0o755)
    return {**os.environ, "JAVA_HOME": str(java.parents[1])}


def test_a_taken_port_is_told_and_a_free_one_is_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartError, match=rf"port {port}: Address already in use; choose another with --port$"):
            require_free_port("127.0.0.1", port)
    require_free_port("127.0.0.1", free_port())


def test_it_does_not_serve_everybody_beyond_this_machine_unless_that_is_said(folder: Path) -> None:
    with pytest.raises(KeysError, match=r"^will not listen on 0\.0\.0\.0 without authentication: make a key with"):
        supervisor.run(RunOptions(folder, host="0.0.0.0"), print)
    with pytest.raises(CardError):
        supervisor.run(RunOptions(folder, ("dog",), host="0.0.0.0", allow_no_keys=True), print)
    with pytest.raises(CardError):
        supervisor.run(RunOptions(folder, ("dog",), host="0.0.0.0", keys_file=folder / "keys"), print)


def test_a_traffic_file_that_does_not_fit_the_models_is_told_before_anything_starts(folder: Path) -> None:
    file = folder / "traffic.toml"
    file.write_text('[absent]\nweights = { "1.0" = 1 }\n', encoding="utf-8")
    (card,) = zoo.read_zoo(write_store(folder / "one", "tiny-classifier", weights=False)).values()

    with pytest.raises(TrafficError, match=r"traffic\.toml: absent: no model of that name is served$"):
        require_traffic(RunOptions(folder, traffic_file=file), [card])


def test_a_host_that_is_not_ours_is_told() -> None:
    with pytest.raises(StartError, match=r"cannot listen on 192\.0\.2\.1 port"):
        require_free_port("192.0.2.1", free_port())


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("0.0.0.0", "http://127.0.0.1:8000"),
        ("::", "http://[::1]:8000"),
        ("::1", "http://[::1]:8000"),
    ],
)
def test_the_address_is_one_that_a_client_here_can_use(host: str, address: str) -> None:
    assert RunOptions(Path(), host=host).address == address


def test_torchserve_is_given_no_port_that_the_gateway_will_listen_on(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    excluded: list[int] = []

    def ports(count: int, excluding: Sequence[int]) -> list[int]:
        excluded.extend(excluding)
        return free_ports(count, excluding)

    monkeypatch.setattr(supervisor, "free_ports", ports)
    options = RunOptions(folder, ("tiny-classifier",), port=free_port())
    supervisor.ProcessTree(options, packaged(options), tmp_path / "run", StopSignal(), print, {})

    assert excluded == [options.port]


def test_a_torchserve_that_does_not_start_is_told_with_its_last_words(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Here Java itself fails, on an option that it does not know."""
    environment = fake_java(tmp_path, "echo 'Error occurred during initialization of VM'\nexit 1")
    options = RunOptions(folder, ("tiny-classifier",), port=free_port())
    (tmp_path / "run").mkdir()
    tree = supervisor.ProcessTree(options, packaged(options), tmp_path / "run", StopSignal(), print, environment)
    try:
        tree.start()
        with pytest.raises(StartError, match="TorchServe ended with code 1 while starting: Error occurred during"):
            tree.wait_until_ready()
        with pytest.raises(StartError, match="TorchServe is still not ready after 3 restarts: Error occurred"):
            tree.watch()
    finally:
        tree.stop()
    assert caplog.messages.count("TorchServe ended with code 1; restarting TorchServe") == supervisor.RESTARTS


def test_a_model_without_a_worker_for_too_long_has_torchserve_started_again(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """TorchServe gives up on a worker that died too often. Here it never had one."""
    options = RunOptions(folder, ("tiny-classifier",), port=free_port(), start_timeout_s=0.5)
    (tmp_path / "run").mkdir()
    java = fake_java(tmp_path, "exec sleep 60")
    tree = supervisor.ProcessTree(options, packaged(options), tmp_path / "run", StopSignal(), print, java)
    try:
        tree.start()
        with pytest.raises(StartError, match=r"^not ready after 0\.5 s: the gateway does not answer$"):
            tree.wait_until_ready()
        with pytest.raises(StartError, match=r"^TorchServe is still not ready after 3 restarts$"):
            tree.watch()
    finally:
        tree.stop()
    restart = "A model has had no ready worker for too long; restarting TorchServe"
    assert caplog.messages.count(restart) == supervisor.RESTARTS


GIVEN_UP = """\
import json, os, socketserver, sys
from http.server import BaseHTTPRequestHandler

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        workers = [{"status": "READY", "pid": 1}]
        ping = self.path == "/ping"
        self.send_response(500 if ping else 200)
        self.end_headers()
        self.wfile.write(json.dumps([{"minWorkers": 2, "workers": workers}]).encode())
    def address_string(self):
        return "client"
    def log_message(self, *_):
        pass

for name in ("inference", "management"):
    server = socketserver.ThreadingUnixStreamServer(os.path.join(sys.argv[1], name), Handler)
    if os.fork() == 0:
        server.serve_forever()
server.serve_forever()
"""


def test_a_worker_that_was_given_up_on_is_worth_some_new_starts_and_not_the_other_workers(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """This TorchServe always has one ready worker of two, and reports that it no longer starts the other."""
    options = RunOptions(folder, ("tiny-classifier",), port=free_port())
    run = tmp_path / "r"
    run.mkdir()
    script = tmp_path / "given_up.py"
    script.write_text(GIVEN_UP, encoding="utf-8")
    asked = StopSignal()
    java = fake_java(tmp_path, f"exec '{sys.executable}' '{script}' '{run}'")
    tree = supervisor.ProcessTree(options, packaged(options), run, asked, print, java)
    restart = "TorchServe gave up on a worker; restarting TorchServe"
    watching = threading.Thread(target=tree.watch)
    try:
        tree.start()
        watching.start()
        until(lambda: caplog.messages.count(restart) == supervisor.RESTARTS, 120, lambda: caplog.text)
        time.sleep(2 * supervisor.CHECK_INTERVAL_S)
        assert watching.is_alive()
        assert caplog.messages.count(restart) == supervisor.RESTARTS
    finally:
        asked.to_stop.set()
        watching.join()
        tree.stop()


def test_a_signal_ends_the_waiting_without_an_error(folder: Path, tmp_path: Path) -> None:
    options = RunOptions(folder, ("tiny-classifier",), port=free_port())
    (tmp_path / "run").mkdir()
    asked = StopSignal()
    environment = fake_java(tmp_path, "exec sleep 60")
    tree = supervisor.ProcessTree(options, packaged(options), tmp_path / "run", asked, print, environment)
    try:
        tree.start()
        asked.to_stop.set()
        assert tree.wait_until_ready() is False
        tree.watch()
    finally:
        tree.stop()
