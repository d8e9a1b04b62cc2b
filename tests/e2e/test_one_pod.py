"""Gateway and worker as in one pod: pixels stay in shared memory, and a pod that stops answers what it has accepted."""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest

from service.host.processes import free_port
from service.host.run_folders import short_folder
from service.tasks.shared_image import PREFIX, VARIABLE
from tests.e2e.fleet import Server, status
from tests.e2e.running import START_S, address_options, until, worker_addresses
from tests.e2e.test_answers import upload
from tests.stores import write_store

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

MODEL = "tiny-classifier"
PARTS, PAUSE_S = 12, 0.5  # of an upload that takes longer than everything that is not waited for
STOP_S = 30.0


@contextmanager
def pod(store: Path, folder: Path, memory: Path) -> Iterator[tuple[Server, Server, httpx.Client]]:
    """Run a worker and a gateway, each with a temporary folder of its own, and with one folder for shared memory."""
    addresses = worker_addresses()
    shared = {"RESNEST_MODEL_STORE": str(store), VARIABLE: str(memory), "OMP_NUM_THREADS": "1"}
    port = free_port()
    settings = {
        "RESNEST_PORT": str(port),
        "RESNEST_INFERENCE_URL": addresses["inference"],
        "RESNEST_MANAGEMENT_URL": addresses["management"],
        "RESNEST_SHARED_MEMORY_BYTES": "33554432",
        "RESNEST_DRAIN_S": "1",
    }
    started: list[Server] = []
    try:
        started.append(Server(folder / "worker", ["worker", *address_options(addresses)], shared))
        started.append(Server(folder / "gateway", ["gateway"], {**shared, **settings}))
        with closing(httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60)) as client:
            yield started[0], started[1], client
    finally:
        for server in reversed(started):
            server.destroy()


def slowly(content: bytes) -> Iterator[bytes]:
    """Yield an upload in parts, with pauses."""
    size = -(-len(content) // PARTS)
    for start in range(0, len(content), size):
        yield content[start : start + size]
        time.sleep(PAUSE_S)


def test_pixels_stay_in_shared_memory_and_a_pod_that_stops_answers_what_it_has_accepted(tmp_path: Path) -> None:
    store, memory, answers = write_store(tmp_path / "store", MODEL), tmp_path / "memory", list[tuple[int, bool]]()
    memory.mkdir()
    with short_folder(tempfile.gettempdir()) as folder, pod(store, folder, memory) as (_, gateway, client):
        until(
            lambda: status(client, "GET", "/readyz") == 200,
            START_S,
            lambda: (folder / "gateway" / "log").read_text("utf-8"),
        )
        assert client.post("/v1/classify", content=upload(0)).status_code == 200
        assert client.get(f"/v1/models/{MODEL}").json()["transport"] == "shared_memory"
        assert [*memory.glob(f"{PREFIX}*")]

        hook = subprocess.Popen(  # of the component, with shorter times
            [sys.executable, "-m", "service.worker.drain", "1", "--at-most", "120"],
            env={**os.environ, "TMPDIR": str(folder / "worker"), VARIABLE: str(memory)},
        )

        def call() -> None:
            answer = client.post("/v1/classify", content=slowly(upload(1, 1600, 1200)))
            answers.append((answer.status_code, hook.poll() is None))

        caller = threading.Thread(target=call)
        caller.start()
        time.sleep(PAUSE_S)  # the upload has begun
        gateway.process.terminate()
        caller.join(60)
        gateway.process.wait(STOP_S)
        stopped = time.monotonic()
        assert hook.wait(STOP_S) == 0
        waited_s = time.monotonic() - stopped

    assert answers == [(200, True)], "the worker is there until its gateway has answered"
    assert waited_s < 10, "and no longer"
