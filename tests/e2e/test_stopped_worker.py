"""A worker that is stopped, as `docker compose restart worker` does, answers what it has begun to compute."""

import tempfile
import threading
from collections.abc import Iterator

import httpx
import pytest

from service.host import health
from service.host.processes import free_port
from service.host.run_folders import short_folder
from service.worker import drain
from tests.e2e.fleet import Server, status
from tests.e2e.running import START_S, address_options, until, worker_addresses
from tests.laws.sources import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

STORE = ROOT / "model_store"
SLOW = "/v1/segment?quality=best"  # several passes: seconds, of which TorchServe alone waits for 0.2


@pytest.fixture
def worker() -> Iterator[tuple[Server, httpx.Client]]:
    """A worker and a gateway of the built-in segmenter, each a process of its own, and a client."""
    addresses = worker_addresses()
    shared = {"RESNEST_MODEL_STORE": str(STORE), "RESNEST_MODELS": "starter-segmenter", "OMP_NUM_THREADS": "1"}
    port = free_port()
    urls = {f"RESNEST_{name.upper()}_URL": addresses[name] for name in ("inference", "management")}
    with short_folder(tempfile.gettempdir()) as folder, httpx.Client(timeout=300) as client:
        servers = [Server(folder / "worker", ["worker", *address_options(addresses)], shared)]
        try:
            servers.append(Server(folder / "gateway", ["gateway"], shared | urls | {"RESNEST_PORT": str(port)}))
            client.base_url = f"http://127.0.0.1:{port}"
            until(lambda: status(client, "GET", "/readyz") == 200, START_S)
            yield servers[0], client
        finally:
            for server in reversed(servers):
                server.destroy()


def test_the_running_computation_is_answered(worker: tuple[Server, httpx.Client]) -> None:
    server, client = worker
    folder = server.folder / health.WORKER_FOLDER
    answers: list[httpx.Response] = []
    body = (STORE / "example.jpg").read_bytes()
    caller = threading.Thread(target=lambda: answers.append(client.post(SLOW, content=body)))
    caller.start()
    until(lambda: drain.computes(folder), 60)

    server.process.terminate()
    until((folder / drain.STOPPING).exists, 10)
    was_running = drain.computes(folder)
    caller.join(300)

    assert was_running, "the computation was too short for this test"
    assert [each.status_code for each in answers] == [200]
    assert server.process.wait(60) == 143
    assert 'outcome="answered"} 0.0' in retries(client)


def retries(client: httpx.Client) -> str:
    """Return the series of what the gateway sent again."""
    lines = client.get("/metrics").text.splitlines()
    return "\n".join(line for line in lines if line.startswith("resnest_retries_total"))
