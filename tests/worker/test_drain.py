"""A worker that will stop says so in each response, until it is started again."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from service.gateway.uploads.arena import Arena
from service.host import health
from service.tasks import frame
from service.tasks.shared_image import VARIABLE
from service.worker import drain, exchange
from service.worker.batches.batch import BatchedOutput
from tests.e2e.running import until


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a worker, in whose temporary folder this process runs as one of the worker's."""
    folder = tmp_path / health.WORKER_FOLDER
    (folder / "tmp").mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(folder / "tmp"))
    monkeypatch.setenv(VARIABLE, str(tmp_path))  # without the gateways of other tests
    return folder


def test_the_hook_marks_the_worker_of_its_container_and_waits(worker: Path) -> None:
    assert not drain.has_begun()
    command = [sys.executable, "-m", "service.worker.drain", "0.1"]
    subprocess.run(command, env={**os.environ, "TMPDIR": str(worker.parent)}, check=True, timeout=60)

    assert drain.has_begun()
    drain.clear(worker)
    assert not drain.has_begun()


@pytest.fixture
def waiting(worker: Path) -> Iterator[dict[str, int]]:
    """Return how many requests wait at the worker's TorchServe, a fake, by model. The worker has two models."""
    counts = {"one": 0, "two": 0}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.removeprefix("/models/")
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps([{"jobQueueStatus": {"pendingRequests": counts[name]}}]).encode())

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    configuration = f"management_address=http://127.0.0.1:{server.server_port}\nload_models=one,two\n"
    (worker / health.CONFIGURATION).write_text(configuration, encoding="utf-8")
    yield counts
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_worker_is_idle_without_a_batch_and_without_a_request_that_waits(
    worker: Path, waiting: dict[str, int]
) -> None:
    first, second = drain.BatchMark(), drain.BatchMark()
    assert drain.is_idle(worker)
    with first:
        with second:
            assert not drain.is_idle(worker)
        assert not drain.is_idle(worker)
    assert drain.is_idle(worker)
    waiting["two"] = 1
    assert not drain.is_idle(worker)
    for mark in (first, second):
        mark.close()


def test_the_hook_waits_for_the_batch_in_progress_and_then_no_longer(
    worker: Path, waiting: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """TorchServe drops it 0.2 s after SIGTERM, which follows the hook."""
    monkeypatch.setattr(drain, "CALM_S", 0.1)
    monkeypatch.setattr(drain, "POLL_S", 0.02)
    monkeypatch.setattr(health, "worker_folder", lambda: worker)  # the hook runs beside the worker
    hook = threading.Thread(target=drain.main, args=(["0", "--at-most", "60"],))
    with closing(drain.BatchMark()) as mark:
        with mark:
            hook.start()
            hook.join(0.5)
            assert hook.is_alive()
        hook.join(10)
        assert not hook.is_alive()


def test_the_hook_waits_for_the_gateway_of_its_pod_although_no_batch_is_in_progress(
    worker: Path, waiting: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """That gateway may still read or decode an image for which it has no other worker."""
    monkeypatch.setattr(drain, "CALM_S", 0.1)
    monkeypatch.setattr(drain, "POLL_S", 0.02)
    monkeypatch.setattr(health, "worker_folder", lambda: worker)
    arena = Arena(worker.parent, 1 << 16)
    arena.open()
    hook = threading.Thread(target=drain.main, args=(["0", "--at-most", "60"],))
    hook.start()
    hook.join(1)
    waited = hook.is_alive()
    arena.close()
    hook.join(10)

    assert waited
    assert not hook.is_alive()


def test_the_hook_ends_at_its_bound_while_requests_wait(
    worker: Path, waiting: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "worker_folder", lambda: worker)
    waiting["one"] = 3
    started = time.monotonic()
    drain.main(["0", "--at-most", "0.5"])

    assert 0.5 <= time.monotonic() - started < 10


def test_a_batch_of_a_process_that_died_holds_nothing_up(worker: Path, waiting: dict[str, int]) -> None:
    (worker / drain.BATCHES).touch()
    lock = "import fcntl, sys, time; file = open(sys.argv[1]); fcntl.flock(file, fcntl.LOCK_SH)"
    program = f"{lock}; print(flush=True); time.sleep(60)"
    command = [sys.executable, "-c", program, str(worker / drain.BATCHES)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        was_idle = drain.is_idle(worker)
        process.kill()
    assert not was_idle

    assert drain.is_idle(worker)


def test_outside_a_worker_no_batch_is_marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    with closing(drain.BatchMark()) as mark, mark:
        assert list(tmp_path.iterdir()) == []


def test_a_container_without_a_worker_only_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    drain.main(["0"])

    assert list(tmp_path.iterdir()) == []


def test_only_a_worker_that_drains_says_so() -> None:
    output = BatchedOutput({}, 1, 1.0)
    (head, _), (drained, _) = (frame.unpack(exchange.reply(output, None, draining=each)) for each in (False, True))

    assert "draining" not in head
    assert drained["draining"] is True


# A TorchServe with a batch in progress, until the file `finish` is there. SIGTERM ends it.
TORCHSERVE = """
import fcntl, signal, sys, time
from pathlib import Path

def stop(*_):
    log.write("stopped\\n")
    log.close()
    sys.exit(143)

signal.signal(signal.SIGTERM, stop)
log = Path("log").open("a")
batches = Path("batches").open("ab")
fcntl.flock(batches, fcntl.LOCK_SH)
Path("begun").touch()
while not Path("finish").exists():
    time.sleep(0.01)
log.write("finished\\n")
fcntl.flock(batches, fcntl.LOCK_UN)
time.sleep(60)
"""


@pytest.fixture
def torchserve(worker: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run such a TorchServe as `resnest-service worker` does, in the worker's folder."""
    command = drain.wrapped([sys.executable, "-c", TORCHSERVE])
    with subprocess.Popen(command, cwd=worker, env={**os.environ, "TMPDIR": str(worker / "tmp")}) as process:
        until((worker / "begun").exists, 30)
        yield process
        process.kill()


def test_at_a_signal_torchserve_is_stopped_when_its_running_batch_has_ended(
    worker: Path, torchserve: subprocess.Popen[bytes]
) -> None:
    torchserve.terminate()
    until((worker / drain.STOPPING).exists, 10)
    time.sleep(0.5)
    assert torchserve.poll() is None
    assert drain.has_begun(), "gateways go elsewhere"

    (worker / "finish").touch()

    assert torchserve.wait(20) == 143
    assert (worker / "log").read_text(encoding="utf-8") == "finished\nstopped\n"


def test_a_second_signal_does_not_wait_for_the_running_batch(worker: Path, torchserve: subprocess.Popen[bytes]) -> None:
    torchserve.terminate()
    until((worker / drain.STOPPING).exists, 10)
    torchserve.terminate()

    assert torchserve.wait(10) in {128 + 9, 143}
    assert not (worker / "finish").exists()


def test_a_batch_that_does_not_end_holds_the_stop_up_for_a_bounded_time(
    worker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(worker)
    stop = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGTERM))
    stop.start()

    assert drain.run([sys.executable, "-c", TORCHSERVE], at_most_s=0.5) in {128 + 9, 143}
    assert not (worker / "finish").exists()


def test_the_end_of_torchserve_is_the_end_of_its_command(worker: Path) -> None:
    command = drain.wrapped([sys.executable, "-c", "raise SystemExit(3)"])
    done = subprocess.run(command, cwd=worker, env={**os.environ, "TMPDIR": str(worker / "tmp")}, check=False)

    assert done.returncode == 3


def test_a_worker_that_stops_begins_no_batch_until_it_is_started_again(worker: Path, waiting: dict[str, int]) -> None:
    with closing(drain.BatchMark()) as mark:
        begun = []
        for is_stopping in (False, True, False):
            if is_stopping:
                (worker / drain.STOPPING).touch()
            else:
                drain.clear(worker)
            with mark as may_begin:
                begun.append(may_begin)

    assert begun == [True, False, True]
