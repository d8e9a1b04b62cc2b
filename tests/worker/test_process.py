"""Worker processes as TorchServe starts them: real processes, and TorchServe's side of their sockets."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from service.host.run_folders import short_folder
from tests.e2e.running import until
from tests.worker.torchserve_side import TIMEOUT_S, Connection, batch_message, load_message

PROGRAM = "from service.worker.process import main; main()"
FOLLOWER_BYTES = 40 << 20
HANG_S = 1.0


class Workers:
    """The worker processes of one TorchServe."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: dict[str, subprocess.Popen[str]] = {}
        self._replaced: list[subprocess.Popen[str]] = []
        self._connections: list[Connection] = []
        manifest = {"worker": {"engines": 1, "followers": 1, "hang_s": HANG_S}}
        (folder / "MAR-INF").mkdir()
        (folder / "MAR-INF" / "MANIFEST.json").write_text(json.dumps(manifest), encoding="utf-8")

    def start(self, name: str) -> subprocess.Popen[str]:
        """Start a worker process."""
        arguments = ["--sock-type", "unix", "--sock-name", str(self.folder / name), "--metrics-config", "none"]
        self._replaced += [self.started[name]] if name in self.started else []
        with (self.folder / f"{name}.err").open("a") as errors:
            self.started[name] = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=errors, text=True
            )
        return self.started[name]

    def connect(self, name: str, **load: Any) -> Connection:
        """Start a worker process, and load the model."""
        self.start(name)
        connection = self.connection(name)
        assert connection.exchange(load_message(self.folder, **load)) == (200, [])
        return connection

    def connection(self, name: str) -> Connection:
        """Connect to a worker process that starts."""
        self._connections.append(Connection(self.folder / name))
        return self._connections[-1]

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to a process, and wait until it has ended."""
        self.started[name].send_signal(number)
        self.started[name].wait(TIMEOUT_S)

    def end(self) -> None:
        """Close all connections, and end all processes."""
        for connection in self._connections:
            connection.close()
        for process in (*self._replaced, *self.started.values()):
            process.kill()
            process.wait()
            assert process.stdout
            process.stdout.close()

    def ends(self, name: str) -> int:
        """Return the exit code of a process that ends soon."""
        return self.started[name].wait(TIMEOUT_S)

    def pids(self, name: str) -> list[int]:
        """Return the process ids that an ended process named on standard output."""
        output = self.started[name].stdout
        assert output
        return [int(line.removeprefix("[PID]")) for line in output if line.startswith("[PID]")]


@pytest.fixture
def workers() -> Iterator[Workers]:
    """Return a folder where worker processes start; end them later."""
    with short_folder("/tmp") as folder:  # noqa: S108 - a new folder
        found = Workers(folder)
        yield found
        found.end()


def served_by(connection: Connection, body: bytes = b"ping") -> int:
    """Return the id of the process that computed a batch."""
    status, (answer,) = connection.exchange(batch_message(body))
    assert (status, answer.split(b" ", 1)[1]) == (200, body)
    return int(answer.split()[0])


def test_the_leader_answers_the_batches_of_both_processes(workers: Workers) -> None:
    one, two = workers.connect("one"), workers.connect("two")
    leader, follower = workers.started["one"], workers.started["two"]

    for connection in (one, two, one, two):
        assert served_by(connection) == leader.pid
    assert psutil.Process(follower.pid).memory_info().rss < FOLLOWER_BYTES
    assert one.exchange(batch_message(b"a", b"b"))[1] == [b"%d a" % leader.pid, b"%d b" % leader.pid]

    one.close()
    assert workers.ends("one") == 0
    assert workers.ends("two") == 1
    assert workers.pids("two") == [follower.pid, leader.pid], "TorchServe shows the last one"


def test_two_batches_are_computed_at_the_same_time(workers: Workers) -> None:
    one, two = workers.connect("one"), workers.connect("two")
    one.send(batch_message(b"sleep"))
    assert served_by(two) == workers.started["one"].pid
    one.socket.settimeout(0)
    with pytest.raises(BlockingIOError):
        one.socket.recv(1)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_with_the_leader_both_connections_end_and_the_next_processes_have_a_leader(
    workers: Workers, number: signal.Signals
) -> None:
    one, two = workers.connect("one"), workers.connect("two")
    two.send(batch_message(b"hang"))
    workers.kill("one", number)

    with pytest.raises(EOFError):
        two.receive()
    with pytest.raises(EOFError):
        one.exchange(batch_message(b"late"))
    assert workers.ends("two") == 1
    again, other = workers.connect("one"), workers.connect("two")
    assert served_by(again) == served_by(other) == workers.started["one"].pid


def test_a_killed_follower_ends_its_own_connection_only_and_has_a_successor(workers: Workers) -> None:
    one, two = workers.connect("one"), workers.connect("two")
    workers.kill("two")

    with pytest.raises(EOFError):
        two.receive()
    assert served_by(one) == workers.started["one"].pid
    successor = workers.connect("two")
    assert served_by(successor) == served_by(one) == workers.started["one"].pid


def test_a_batch_that_ends_soon_after_its_follower_was_killed_disturbs_nobody(workers: Workers) -> None:
    one, two = workers.connect("one"), workers.connect("two")
    two.send(batch_message(b"sleep"))
    assert served_by(one)
    workers.kill("two")
    successor = workers.connect("two")
    for _ in range(3):
        assert served_by(one, b"sleep") == served_by(successor)
    assert workers.started["one"].poll() is None


def test_a_batch_that_hangs_after_its_follower_was_killed_ends_the_leader(workers: Workers) -> None:
    """TorchServe kills a process that does not answer in time, but the thread that hangs is in the leader."""
    one, two = workers.connect("one"), workers.connect("two")
    two.send(batch_message(b"hang"))
    assert served_by(one)
    workers.kill("two")
    assert workers.ends("one") == 1
    assert "a batch hangs" in (workers.folder / "one.err").read_text()


@pytest.mark.parametrize("name", ["one", "two"])
def test_a_lost_device_ends_both_processes(workers: Workers, name: str) -> None:
    connections = {each: workers.connect(each) for each in ("one", "two")}
    with pytest.raises(EOFError):
        connections[name].exchange(batch_message(b"device lost"))
    assert [workers.ends(each) for each in ("one", "two")] == [1, 1]


@pytest.mark.parametrize(("body", "status"), [(b"fail", 503), (b"no memory", 507)])
def test_a_batch_that_raises_fails_alone(workers: Workers, body: bytes, status: int) -> None:
    one, two = workers.connect("one"), workers.connect("two")
    for connection in (one, two):
        assert connection.exchange(batch_message(b"good", body)) == (status, [b"error", b"error"])
        assert served_by(connection) == workers.started["one"].pid


def test_a_model_that_cannot_be_loaded_ends_both_processes(workers: Workers) -> None:
    (workers.folder / "broken").touch()
    for name in ("one", "two"):
        workers.start(name)
    connections = [workers.connection(name) for name in ("one", "two")]
    for connection in connections:
        connection.send(load_message(workers.folder))
    for connection in connections:
        with pytest.raises(EOFError):
            connection.receive()
    assert [workers.ends(name) for name in ("one", "two")] == [1, 1]


def test_both_processes_end_with_torchserve(workers: Workers) -> None:
    one, two = workers.connect("one"), workers.connect("two")
    two.send(batch_message(b"sleep"))
    for connection in (two, one):
        connection.close()
    assert workers.ends("one") == 0
    assert workers.ends("two") == 1


def test_a_process_whose_torchserve_ends_before_the_model_is_named_ends(workers: Workers) -> None:
    workers.start("one")
    workers.connection("one").close()
    assert workers.ends("one") == 0


def test_models_and_devices_have_their_own_leaders(workers: Workers) -> None:
    loads: list[dict[str, Any]] = [{"model": "a"}, {"model": "b"}, {"model": "a", "gpu": 0}, {"model": "a", "gpu": 1}]
    connections = [workers.connect(str(index), **load) for index, load in enumerate(loads)]
    assert len({served_by(connection) for connection in connections}) == len(loads)
    assert os.getpid() not in {served_by(connection) for connection in connections}
    until(lambda: all(each.poll() is None for each in workers.started.values()), 1)
