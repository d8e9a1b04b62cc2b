"""A real TorchServe serves the state of GPUs that its worker processes report. Only NVML's functions are faked."""

import os
import re
import tempfile
from collections.abc import Iterator

import httpx
import pytest

from service.host.run_folders import short_folder
from service.worker.resources.gauges import LOAD_TIME
from service.worker.resources.gpu_report import GAUGES
from tests.e2e.fleet import Server
from tests.e2e.running import NO_HTTPS, START_S, address_options, until, worker_addresses
from tests.laws.sources import ROOT
from tests.stores import write_store

pytestmark = pytest.mark.e2e

# What stands for NVIDIA's module in the worker's processes.
MODULE = """from tests.worker.resources.fake_pynvml import FakeNvml, NVMLError

_fake = FakeNvml()
globals().update({name: getattr(_fake, name) for name in dir(_fake) if name.lower().startswith("nvml")})
"""


@pytest.fixture(scope="module")
def metrics_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    modules, store = tmp_path_factory.mktemp("modules"), tmp_path_factory.mktemp("store")
    (modules / "pynvml.py").write_text(MODULE, encoding="utf-8")
    write_store(store, "tiny-classifier")
    addresses = worker_addresses()
    paths = os.pathsep.join(map(str, (modules, ROOT)))
    with short_folder(tempfile.gettempdir()) as folder:
        environment = {"RESNEST_MODEL_STORE": str(store), "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
        server = Server(folder / "worker", ["worker", *address_options(addresses)], environment)
        try:
            yield addresses["metrics"]
        finally:
            server.destroy()


def read(address: str) -> str:
    try:
        return httpx.get(f"{address}/metrics", verify=NO_HTTPS).text
    except httpx.HTTPError:
        return ""


def test_prometheus_reads_the_state_of_a_workers_gpus_from_torchserve(metrics_address: str) -> None:
    until(lambda: "resnest_gpu_throttled" in read(metrics_address), START_S, lambda: read(metrics_address))

    text = read(metrics_address)
    found = dict(re.findall(r"^(resnest_gpu_\w+\{[^}]*\}) (\S+)$", text, re.MULTILINE))
    values = {re.sub(r"Hostname=\"[^\"]*\",?", "", series): float(value) for series, value in found.items()}

    assert {series.partition("{")[0] for series in found} == {name for name, _ in GAUGES}
    assert values['resnest_gpu_utilization_ratio{gpu="GPU-0",}'] == 0.25
    assert values['resnest_gpu_memory_limit_bytes{gpu="GPU-0",}'] == 80 << 30
    assert values['resnest_gpu_throttled{gpu="GPU-0",reason="power_brake",}'] == 0


def test_prometheus_reads_how_long_a_worker_took_to_load_its_model(metrics_address: str) -> None:
    until(lambda: LOAD_TIME[0] in read(metrics_address), START_S, lambda: read(metrics_address))

    (seconds,) = re.findall(
        rf'^{LOAD_TIME[0]}{{.*model="tiny-classifier".*}} (\S+)$', read(metrics_address), re.MULTILINE
    )
    assert 0 < float(seconds) < START_S
