"""The socket by which `models reload` reaches a running service."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from service.host import run_folders
from service.host.served_models import control
from service.host.served_models.control import Control
from service.host.served_models.reload import ReloadError, ReloadRequest

REQUEST = ReloadRequest(("a", "b"), ignore_memory=True)


@contextmanager
def answering(server: Control, answer: Callable[[ReloadRequest], None]) -> Iterator[None]:
    """Poll in a thread, as a supervisor does, and answer each request."""
    done = threading.Event()

    def poll() -> None:
        while not done.wait(0.01):
            if request := server.poll():
                answer(request)

    thread = threading.Thread(target=poll)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a run, in the temporary folder of the test."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with run_folders.locked_folder(tmp_path) as made:
        yield made


@pytest.fixture
def server(folder: Path, tmp_path: Path) -> Iterator[Control]:
    made = Control(folder, tmp_path / "store", "http://127.0.0.1:8000", lambda _: None)
    yield made
    made.close()


def test_a_request_arrives_and_what_is_said_comes_back(server: Control, folder: Path) -> None:
    seen: list[ReloadRequest] = []
    said: list[str] = []

    def answer(request: ReloadRequest) -> None:
        seen.append(request)
        server.say("one")
        server.say("two")
        server.finish()

    with answering(server, answer):
        control.reload(folder, REQUEST, said.append)
    assert seen == [REQUEST]
    assert said == ["one", "two"]


def test_a_failure_is_raised(server: Control, folder: Path) -> None:
    with (
        answering(server, lambda _: server.finish("it is broken")),
        pytest.raises(ReloadError, match=r"^nothing was changed: it is broken$"),
    ):
        control.reload(folder, REQUEST, print)


def test_a_second_request_is_refused_until_the_first_has_ended(server: Control, folder: Path) -> None:
    with answering(server, lambda _: None):
        first = threading.Thread(target=lambda: control.reload(folder, REQUEST, print))
        first.start()
        deadline = time.monotonic() + 30
        while server._served is None and time.monotonic() < deadline:
            time.sleep(0.01)
        with pytest.raises(ReloadError, match="another reload is in progress"):
            control.reload(folder, REQUEST, print)
        server.finish()
        first.join(30)
    assert not first.is_alive()


def test_a_client_that_leaves_or_sends_nonsense_harms_nobody(server: Control, folder: Path) -> None:
    path = str(folder / control.SOCKET)
    with answering(server, lambda _: server.finish()):
        for content in (b"", b"\n", b'{"models": 1}\n', b"x" * 100_000):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
                client.connect(path)
                client.sendall(content)
        control.reload(folder, REQUEST, print)


def test_a_service_that_ends_meanwhile_is_told(server: Control, folder: Path) -> None:
    with answering(server, lambda _: server.close()), pytest.raises(ReloadError, match="the service has ended"):
        control.reload(folder, REQUEST, print)


def test_the_service_is_found_by_its_store_and_its_port(server: Control, folder: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    assert control.running(store, None) == folder
    assert control.running(store, 8000) == folder
    with pytest.raises(ReloadError, match=r"serves .*/store at port 8001; name its store"):
        control.running(store, 8001)
    with pytest.raises(ReloadError, match="no ready `resnest-service run`"):
        control.running(tmp_path / "other", None)


def test_several_services_of_a_store_must_be_told_apart(server: Control, tmp_path: Path) -> None:
    with run_folders.locked_folder(tmp_path) as second:
        other = Control(second, tmp_path / "store", "http://127.0.0.1:8001", lambda _: None)
        with pytest.raises(ReloadError, match=r"several services .*8000.*8001|several services .*8001.*8000"):
            control.running(tmp_path / "store", None)
        assert control.running(tmp_path / "store", 8001) == second
        other.close()


def test_a_run_that_has_ended_is_not_found(folder: Path, tmp_path: Path) -> None:
    left = tmp_path / f"{run_folders.PREFIX}left"
    left.mkdir()
    Control(left, tmp_path / "store", "http://127.0.0.1:8000", lambda _: None).close()
    with pytest.raises(ReloadError, match="no ready"):
        control.running(tmp_path / "store", None)
