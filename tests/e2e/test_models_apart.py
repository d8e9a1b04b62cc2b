"""Workers of single models: while one model's server is stopped, callers of the other model notice nothing."""

import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest

from service.host.processes import free_port
from service.host.run_folders import short_folder
from tests.e2e.fleet import Server, loaded
from tests.e2e.running import START_S, address_options, until, worker_addresses
from tests.e2e.test_answers import upload
from tests.e2e.test_faults import wait_for_more
from tests.stores import write_store

# 30 s. tests/gateway/behaviour/test_readyz.py has the part of the gateway.
pytestmark = [pytest.mark.e2e, pytest.mark.stress, pytest.mark.timeout(600)]

MODELS = ("tiny-classifier", "tiny-segmenter")


@contextmanager
def apart(store: Path, folder: Path) -> Iterator[tuple[dict[str, Server], str]]:
    """Run a server for each model and a gateway; yield the servers by model, and the gateway's URL."""
    started: list[Server] = []
    addresses = {model: worker_addresses() for model in MODELS}
    try:
        for model, its in addresses.items():
            environment = {"RESNEST_MODEL_STORE": str(store), "RESNEST_MODELS": model, "OMP_NUM_THREADS": "1"}
            started.append(Server(folder / model, ["worker", *address_options(its)], environment))
        port = free_port()
        environment = {
            "RESNEST_MODEL_STORE": str(store),
            "RESNEST_PORT": str(port),
            "RESNEST_INFERENCE_URL": ",".join(each["inference"] for each in addresses.values()),
            "RESNEST_MANAGEMENT_URL": ",".join(each["management"] for each in addresses.values()),
        }
        started.append(Server(folder / "gateway", ["gateway"], environment))
        yield dict(zip(MODELS, started, strict=False)), f"http://127.0.0.1:{port}"
    finally:
        for server in reversed(started):
            server.destroy()


def test_while_the_server_of_one_model_is_stopped_the_other_model_fails_no_request(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", *MODELS)
    with (
        short_folder(tempfile.gettempdir()) as folder,
        apart(store, folder) as (servers, url),
        closing(httpx.Client(base_url=url, timeout=60)) as client,
    ):

        def state(model: str) -> str:
            try:
                return str(client.get("/readyz").json()["models"][model]["state"])
            except httpx.HTTPError:
                return "no gateway"

        def segment() -> httpx.Response:
            return client.post("/v1/segment", content=upload(0))

        until(lambda: all(state(model) == "ready" for model in MODELS), START_S, lambda: [*map(state, MODELS)])
        with loaded([url]) as answers:
            wait_for_more(answers)
            assert segment().status_code == 200
            servers["tiny-segmenter"].stop()
            until(lambda: state("tiny-segmenter") == "unavailable", START_S, lambda: state("tiny-segmenter"))
            wait_for_more(answers)
            stopped = segment()
            ready = client.get("/readyz").status_code
            servers["tiny-segmenter"].start()
            with answers.fewer():
                until(lambda: state("tiny-segmenter") == "ready", START_S, lambda: state("tiny-segmenter"))
            wait_for_more(answers)
            again = segment()

    assert set(answers) == {200}, answers
    assert (stopped.status_code, stopped.json()["code"]) == (503, "backend_unavailable")
    assert stopped.headers["retry-after"]
    assert (ready, again.status_code) == (200, 200)
