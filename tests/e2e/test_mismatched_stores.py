"""Two real model servers, of which one was started with another model store: no caller gets its answers."""

import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest

from service.host.processes import free_port
from service.host.run_folders import short_folder
from tests.e2e.fleet import Server
from tests.e2e.running import START_S, address_options, until, worker_addresses
from tests.e2e.test_answers import upload
from tests.stores import write_store

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]  # starts two TorchServes

MODEL = "tiny-classifier"
IMAGES = 24


@contextmanager
def serving(folder: Path, stores: list[Path]) -> Iterator[str]:
    """Run a model server for each store, and a gateway with the first; yield its URL."""
    started: list[Server] = []
    addresses = [worker_addresses() for _ in stores]
    try:
        for number, (store, its) in enumerate(zip(stores, addresses, strict=True)):
            environment = {"RESNEST_MODEL_STORE": str(store), "OMP_NUM_THREADS": "1"}
            started.append(Server(folder / f"worker-{number}", ["worker", *address_options(its)], environment))
        port = free_port()
        environment = {
            "RESNEST_MODEL_STORE": str(stores[0]),
            "RESNEST_PORT": str(port),
            "RESNEST_INFERENCE_URL": ",".join(each["inference"] for each in addresses),
            "RESNEST_MANAGEMENT_URL": ",".join(each["management"] for each in addresses),
        }
        started.append(Server(folder / "gateway", ["gateway"], environment))
        yield f"http://127.0.0.1:{port}"
    finally:
        for server in reversed(started):
            server.destroy()


def test_a_worker_with_other_labels_than_its_gateway_answers_no_caller_and_is_counted(tmp_path: Path) -> None:
    stores = [write_store(tmp_path / name, MODEL) for name in ("ours", "other")]
    labels = stores[1] / MODEL / "labels.txt"
    labels.write_text("\n".join(reversed(labels.read_text(encoding="utf-8").split())) + "\n", encoding="utf-8")
    with (
        short_folder(tempfile.gettempdir()) as folder,
        serving(folder, stores) as url,
        closing(httpx.Client(base_url=url, timeout=60)) as client,
    ):

        def workers() -> int:
            try:
                return int(client.get("/readyz").json()["models"][MODEL]["workers_configured"])
            except httpx.HTTPError:
                return 0

        def mismatched() -> bool:
            client.post("/v1/classify", content=upload(0))
            return f'resnest_replicas_mismatched{{model="{MODEL}"}} 1.0' in client.get("/metrics").text

        until(lambda: workers() == 2, START_S, workers)
        until(mismatched, START_S, lambda: client.get("/readyz").text)
        answers = [client.post("/v1/classify", content=upload(seed)) for seed in range(IMAGES)]
        readiness = client.get("/readyz").json()["models"][MODEL]

    assert {answer.status_code for answer in answers} == {200}
    assert (readiness["state"], readiness["workers_ready"]) == ("ready", 1)
