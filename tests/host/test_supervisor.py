"""What `run` checks before it starts anything, and what it does when a child fails. tests/e2e tests the rest."""

import os
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from service.config.api_keys import KeysError
from service.config.traffic import TrafficError
from service.host import health, supervisor
from service.host.gateways import GatewayProcesses
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


def test_torchserve_is_started_again_if_no_model_has_a_worker_for_too_long(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
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
    restart = "No model has had a ready worker for too long; restarting TorchServe"
    assert caplog.messages.count(restart) == supervisor.RESTARTS


ONE_READY = """\
import json, os, socketserver, sys
from http.server import BaseHTTPRequestHandler

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        status = "READY" if self.path == "/models/tiny-classifier" else "UNLOADED"
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps([{"minWorkers": 1, "workers": [{"status": status, "pid": 1}]}]).encode())
    def address_string(self):
        return "client"
    def log_message(self, *_):
        pass

server = socketserver.ThreadingUnixStreamServer(os.path.join(sys.argv[1], "management"), Handler)
server.serve_forever()
"""


@pytest.fixture
def one_ready(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[supervisor.ProcessTree, StopSignal]]:
    """A tree of two models. The segmenter never has a ready worker, the classifier always has one."""
    (folder / "tiny-segmenter" / "weights.safetensors").touch()
    monkeypatch.setattr(supervisor, "CHECK_INTERVAL_S", 0.1)
    options = RunOptions(folder, port=free_port(), start_timeout_s=0.5)
    run = tmp_path / "r"
    run.mkdir()
    script = tmp_path / "one_ready.py"
    script.write_text(ONE_READY, encoding="utf-8")
    java = fake_java(tmp_path, f"exec '{sys.executable}' '{script}' '{run}'")
    asked = StopSignal()
    tree = supervisor.ProcessTree(options, packaged(options), run, asked, print, java)
    try:
        tree.start()
        yield tree, asked
    finally:
        tree.stop()


def test_a_model_without_a_worker_for_too_long_does_not_end_the_others(
    one_ready: tuple[supervisor.ProcessTree, StopSignal], caplog: pytest.LogCaptureFixture
) -> None:
    """With a restart of TorchServe, or the end of `run`, one broken model would take all of them out of service."""
    tree, asked = one_ready
    down = "tiny-segmenter has no ready worker process; other models are served"
    watching = threading.Thread(target=tree.watch)
    try:
        watching.start()
        until(lambda: down in caplog.messages, 30, lambda: caplog.text)
        time.sleep(6 * 0.5)  # six times the timeout
        assert watching.is_alive()
        assert caplog.messages.count(down) == 1
        assert not [each for each in caplog.messages if "restarting TorchServe" in each]
    finally:
        asked.to_stop.set()
        watching.join()


@pytest.mark.parametrize("strict", [False, True])
def test_a_start_goes_on_without_a_model_that_gets_no_worker_unless_it_is_strict(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, strict: bool
) -> None:
    """Its worker is killed before it can say why, for example for its memory."""
    said: list[str] = []
    (tmp_path / "run").mkdir()
    options = RunOptions(folder, ("tiny-classifier",), port=free_port(), start_timeout_s=0.5, strict=strict)
    java = fake_java(tmp_path, "exec sleep 60")
    tree = supervisor.ProcessTree(options, packaged(options), tmp_path / "run", StopSignal(), said.append, java)
    monkeypatch.setattr(health, "reasons_of_gateway", lambda *_: "tiny-segmenter cannot answer")
    monkeypatch.setattr(health, "gateway_is_ready", lambda _, require: require == "any")
    try:
        tree.start()
        if strict:
            with pytest.raises(StartError, match=r"^not ready after 0\.5 s: tiny-segmenter cannot answer$"):
                tree.wait_until_ready()
        else:
            assert tree.wait_until_ready()
            assert said[-1].endswith("not ready after 0.5 s: tiny-segmenter cannot answer")
    finally:
        tree.stop()


def test_gateways_have_the_time_to_end_that_their_settings_give_them(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESNEST_GRACEFUL_TIMEOUT_S", "120")
    allowed: list[float] = []

    def stop(gateways: GatewayProcesses, timeout_s: float, _hurry: Callable[[], bool]) -> None:
        allowed.append(timeout_s)
        original(gateways, 5, lambda: True)

    original = GatewayProcesses.stop
    monkeypatch.setattr(GatewayProcesses, "stop", stop)
    options = RunOptions(folder, ("tiny-classifier",), port=free_port())
    (tmp_path / "run").mkdir()
    java = fake_java(tmp_path, "exec sleep 60")
    tree = supervisor.ProcessTree(options, packaged(options), tmp_path / "run", StopSignal(), print, java)
    try:
        tree.start()
    finally:
        tree.stop()

    assert min(allowed) > 120


def test_a_signal_ends_the_waiting_without_an_error(folder: Path, tmp_path: Path) -> None:
    options = RunOptions(folder, ("tiny-classifier",), port=free_port())
    (tmp_path / "run").mkdir()
    asked = StopSignal()
    environment = fake_java(tmp_path, "exec sleep 60")
    said: list[str] = []
    tree = supervisor.ProcessTree(options, packaged(options), tmp_path / "run", asked, said.append, environment)
    try:
        tree.start()
        asked.to_stop.set()
        assert tree.wait_until_ready() is False
        tree.watch()
    finally:
        tree.stop()
    assert said[-2] == "Stopping"
    assert re.fullmatch(r"Stopped after \d+\.\d s", said[-1])
