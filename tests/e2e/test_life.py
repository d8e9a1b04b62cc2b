"""How the process tree starts, recovers and ends."""

import hashlib
import os
import shutil
import socket
import subprocess
import threading
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest

from service.host import health
from service.host.processes import free_port
from service.host.served_models import model_archive
from service.tasks import frame
from service.worker import drain
from tests.e2e.running import (
    COMMAND,
    PROCESS_PAUSE_S,
    START_S,
    Running,
    address_options,
    leader_of,
    probed,
    running,
    until,
    worker_addresses,
)
from tests.e2e.test_answers import post, upload
from tests.stores import write_store

pytestmark = pytest.mark.e2e

WORKER, JAVA = "model_service_worker", "org.pytorch.serve.ModelServer"


@pytest.fixture
def one_model(served_store: Path, tmp_path: Path) -> Path:
    """A store with only the tiny classifier, which a test may change."""
    store = tmp_path / "a störe"
    shutil.copytree(served_store / "tiny-classifier", store / "tiny-classifier")
    return store


def fails(store: Path, folder: Path, port: int, *arguments: str) -> str:
    """Return the last line of a `run` that must end by itself with code 1, without processes left behind."""
    with running(store, folder, port, *arguments) as service:
        until(lambda: bool(service.members("")) or service.process.poll() is not None or "Error" in service.output, 120)
        assert service.process.wait(120) == 1, service.output
        until(lambda: not service.left(), 10, service.left)
        assert "Traceback" not in service.output
        return service.output.splitlines()[-1]


def statuses_until_ready(service: Running, timeout_s: float) -> list[int]:
    """Return the statuses of /readyz until it is 200 again after a 503."""
    seen: list[int] = []

    def recovered() -> bool:
        seen.append(service.client.get("/readyz?require=all").status_code)
        return 503 in seen and seen[-1] == 200

    until(recovered, timeout_s, lambda: (set(seen), service.output))
    return seen


def end_with_a_request_in_flight(service: Running) -> None:
    """End the service while it answers a large image. The gateway ends before TorchServe does."""
    found: list[int] = []
    large = upload(5, 3000, 4000)
    request = threading.Thread(target=lambda: found.append(post(service, "/v1/classify", large).status_code))
    request.start()
    in_flight = 'resnest_http_requests_in_flight{route="/v1/classify"} 1.0'
    until(lambda: in_flight in service.client.get("/metrics").text, 10, pause_s=0.01)
    assert service.end() == 0
    request.join(30)
    assert found == [200]


def test_it_heals_after_killed_workers_and_a_killed_torchserve_answers_until_its_end_and_leaves_nothing(
    one_model: Path, tmp_path: Path
) -> None:
    with running(one_model, tmp_path / "run", free_port()) as service:
        service.await_ready()
        assert post(service, "/v1/classify", upload(0)).status_code == 200

        worker = leader_of(service.members(WORKER))
        worker.kill()
        assert set(statuses_until_ready(service, 60)) == {200, 503}
        assert post(service, "/v1/classify", upload(0)).status_code == 200
        assert worker not in service.members(WORKER)

        (java,) = service.members(JAVA)
        java.kill()
        assert set(statuses_until_ready(service, 90)) == {200, 503}
        assert post(service, "/v1/classify", upload(0)).status_code == 200
        assert "TorchServe was ended by signal SIGKILL; restarting TorchServe" in service.output

        service.members("")
        assert len(service.left()) >= 3
        end_with_a_request_in_flight(service)
        until(lambda: not service.left(), 5, service.left)
        assert "Traceback" not in service.output
        assert list(service.temporary.glob("resnest-*")) == []


def test_a_model_whose_worker_is_killed_again_leaves_the_others_in_service_and_no_process_outlives_the_supervisor(
    served_store: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    for name in ("tiny-classifier", "tiny-segmenter"):
        shutil.copytree(served_store / name, store / name)
    with running(store, tmp_path / "run", free_port()) as service:
        service.await_ready()
        (java,) = service.members(JAVA)
        seen: list[tuple[int, int, int]] = []

        def is_down() -> bool:
            for worker in service.members(WORKER):
                if "tiny-segmenter" in worker.environ()["PYTHONPATH"]:
                    worker.kill()
            strict, ready = (service.client.get(path).status_code for path in ("/readyz?require=all", "/readyz"))
            seen.append((strict, ready, post(service, "/v1/classify", upload(0)).status_code))
            return sum(strict == 503 for strict, *_ in seen) >= 20

        until(is_down, 60, lambda: (seen, service.output))
        assert {(ready, answered) for _, ready, answered in seen} == {(200, 200)}
        until(lambda: service.client.get("/readyz?require=all").status_code == 200, 120, lambda: service.output)
        assert post(service, "/v1/segment", upload(0)).status_code == 200
        assert service.members(JAVA) == [java], "a restart of TorchServe ends the other models' workers too"

        service.members("")
        service.process.kill()
        service.process.wait()
        assert len(service.left()) >= 3
        until(lambda: not service.left(), 40, service.left)


def test_a_worker_alone_answers_over_tcp_and_health_tells_when(one_model: Path, tmp_path: Path) -> None:
    """As in a container: the command runs TorchServe, and packages into its own folder, not into the store."""
    urls = worker_addresses()
    environment = {**os.environ, "TMPDIR": str(tmp_path), "RESNEST_MODEL_STORE": str(one_model)}
    with (tmp_path / "log").open("wb") as log:
        worker = subprocess.Popen([COMMAND, "worker", *address_options(urls)], env=environment, stdout=log, stderr=log)

    def healthy() -> bool:
        return subprocess.run([COMMAND, "health"], env=environment, capture_output=True, check=False).returncode == 0

    try:
        assert not healthy()
        until(lambda: probed(environment) or worker.poll() is not None, START_S, pause_s=PROCESS_PAUSE_S)
        assert healthy(), (tmp_path / "log").read_text(encoding="utf-8")
        (java,) = psutil.Process(worker.pid).children()
        assert JAVA in java.cmdline()
        request = frame.pack({}, {"image": np.zeros((64, 64, 3), np.uint8)})
        answer = httpx.post(f"{urls['inference']}/predictions/tiny-classifier", content=request, timeout=60)
        assert frame.unpack(answer.content)[0]["ok"] is True
        assert "ts_inference_requests_total" in httpx.get(f"{urls['metrics']}/metrics").text
        (state,) = httpx.get(f"{urls['management']}/models/tiny-classifier").json()
        assert state["maxRetryTimeoutInSec"] == model_archive.RETRY_S
        folder = tmp_path / health.WORKER_FOLDER
        assert (folder / drain.BATCHES).exists(), "the batch was marked while it was in progress"
        assert drain.is_idle(folder)
        assert state["jobQueueStatus"]["pendingRequests"] == 0, "the hook before a worker's end reads it"
        # Kubernetes asks this whether the server lives.
        assert httpx.get(f"{urls['management']}/models?limit=1").status_code == 200
        assert not (one_model / "archives").exists()
    finally:
        worker.terminate()
        worker.wait(60)
    assert not healthy()


def test_a_busy_port_is_told_before_anything_starts(one_model: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        last = fails(one_model, tmp_path / "run", port)
    assert last == f"Error: cannot listen on 127.0.0.1 port {port}: Address already in use; choose another with --port"
    assert not (one_model / "archives").exists()


def test_missing_weights_are_told_by_their_path(one_model: Path, tmp_path: Path) -> None:
    (one_model / "tiny-classifier" / "weights.safetensors").unlink()
    last = fails(one_model, tmp_path / "run", free_port())
    assert last.startswith("Error: no model has its weights: ")
    assert str(one_model / "tiny-classifier" / "weights.safetensors") in last


def test_weights_that_do_not_fit_are_told_as_the_worker_sees_them(one_model: Path, tmp_path: Path) -> None:
    """Their checksum is right, so only the worker can detect it."""
    other = write_store(tmp_path / "other", "tiny-classifier-b") / "tiny-classifier-b" / "weights.safetensors"
    folder = one_model / "tiny-classifier"
    shutil.copy(other, folder / "weights.safetensors")
    card = (folder / "card.toml").read_text(encoding="utf-8")
    stated = card.split('sha256 = "')[1][:64]
    digest = hashlib.sha256(other.read_bytes()).hexdigest()
    (folder / "card.toml").write_text(card.replace(stated, digest), encoding="utf-8")
    last = fails(one_model, tmp_path / "run", free_port())
    assert last == "Error: tiny-classifier: the weight fc.bias is (3,), but the network has (7,)"
