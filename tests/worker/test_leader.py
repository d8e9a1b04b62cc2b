"""The leader's connections: each is answered in its own thread, by one handler."""

import socket
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest

from service.host import health
from service.host.served_models.model_archive import HANDLER
from service.worker import drain, messages
from service.worker.election import Terms
from service.worker.handler import BatchHandler
from service.worker.leader import Connections, new_handler
from service.worker.messages import LoadMessage
from tests.e2e.running import until
from tests.worker.torchserve_side import END, batch_message, load_message


class SlowHandler:
    """A handler that loads when it may, and counts its calls at one time."""

    def __init__(self) -> None:
        self.may_load = threading.Event()
        self.both = threading.Barrier(2, timeout=10)

    def initialize(self, context: Any) -> None:
        """Wait for the permission."""
        assert self.may_load.wait(10)
        assert context.system_properties == {"model_dir": "folder", "gpu_id": 2}

    def handle(self, data: list[dict[str, bytearray]], context: Any) -> list[bytes]:
        """Return when two calls have come together."""
        self.both.wait()
        return [bytes(each["body"]) for each in data]


def connections(handler: Any) -> Connections:
    return Connections(handler, LoadMessage("model", "folder", "handler", 2), Terms(1, 1, 1.0))


@pytest.fixture
def handler() -> SlowHandler:
    """Return a handler that may load."""
    made = SlowHandler()
    made.may_load.set()
    return made


@pytest.fixture
def loaded(handler: SlowHandler) -> Connections:
    """Return connections whose handler has loaded the model."""
    service = connections(handler)
    service.load()
    return service


def served(service: Connections) -> tuple[threading.Thread, socket.socket]:
    own, other = socket.socketpair()
    other.settimeout(10)
    thread = threading.Thread(target=service.serve, args=(own, own.makefile("rb")))
    thread.start()
    return thread, other


def test_connections_wait_for_the_model_and_are_then_answered_at_the_same_time() -> None:
    handler = SlowHandler()
    service = connections(handler)
    threads, others = zip(*(served(service) for _ in range(2)), strict=True)
    others[0].settimeout(0)
    with pytest.raises(BlockingIOError):
        others[0].recv(1)
    others[0].settimeout(10)
    handler.may_load.set()
    service.load()

    for other in others:
        assert other.recv(100) == messages.reply(200, "loaded model model")
        other.sendall(batch_message(b"body"))
    for other in others:
        assert other.recv(200).endswith(b"body" + END)
        other.close()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


def test_a_batch_is_in_progress_until_its_answer_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, handler: SlowHandler, loaded: Connections
) -> None:
    """So that the hook before a worker's end waits for it."""
    configuration = tmp_path / health.CONFIGURATION
    configuration.write_text("management_address=http://127.0.0.1:1\nload_models=model\n", encoding="utf-8")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    thread, other = served(loaded)
    other.recv(100)
    assert drain.is_idle(tmp_path)
    other.sendall(batch_message(b"body"))
    until(lambda: handler.both.n_waiting == 1, 10)
    assert not drain.is_idle(tmp_path)
    handler.both.wait()
    assert other.recv(200).endswith(b"body" + END)
    until(lambda: drain.is_idle(tmp_path), 10)
    other.close()
    thread.join(10)


def test_once_the_worker_stops_no_batch_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, handler: SlowHandler, loaded: Connections
) -> None:
    """Its request is answered by another worker, when the connection ends."""
    (tmp_path / health.CONFIGURATION).touch()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    thread, other = served(loaded)
    other.recv(100)
    (tmp_path / drain.STOPPING).touch()
    other.sendall(batch_message(b"body"))
    thread.join(0.5)
    assert thread.is_alive()
    assert handler.both.n_waiting == 0
    assert not drain.computes(tmp_path)
    other.close()
    thread.join(10)
    assert not thread.is_alive()


def test_a_second_model_on_a_connection_is_an_error(loaded: Connections) -> None:
    own, other = socket.socketpair()
    other.sendall(load_message(Path("folder")))
    with pytest.raises(TypeError, match="second model"):
        loaded.serve(own, own.makefile("rb"))
    other.close()


def test_the_handler_is_the_only_class_of_its_module() -> None:
    assert isinstance(new_handler(HANDLER), BatchHandler)
    with pytest.raises(ValueError, match="not enough values"):
        new_handler("tests.worker.test_handler")
