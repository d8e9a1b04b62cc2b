"""Tests of the costs of serving: whose process is which, and a measurement of a real service with the null model."""

import re
from pathlib import Path

import httpx
import pytest

from benchmarks.costs import gateway
from benchmarks.costs.gateway import PARTS, Load, part_of, ratios
from tests.stores import write_store

WORKER = ("/usr/bin/python", "/site-packages/ts/model_service_worker.py", "--sock-type", "unix")
FORK_SERVER = ("/usr/bin/python", "-c", "from multiprocessing.forkserver import main; main(5, 6)")


@pytest.mark.parametrize(
    ("command", "parent", "part"),
    [
        (("/usr/bin/python", "-m", "service", "gateway"), "", "gateway"),
        (FORK_SERVER, "gateway", "decoders"),
        (FORK_SERVER, "decoders", "decoders"),
        (("java", "-jar", "frontend.jar"), "", "Java"),
        (WORKER, "Java", "worker"),
        (("/usr/bin/python", "-c", "compile"), "worker", "worker"),
        (("/usr/bin/python", "-m", "something"), "", ""),
    ],
)
def test_a_process_belongs_to_a_part_by_its_command_or_to_that_of_its_parent(
    command: tuple[str, ...], parent: str, part: str
) -> None:
    assert part_of(command, parent) == part


def test_checkouts_are_compared_within_a_round() -> None:
    assert ratios([1, 3, 3], [1, 2, 1]) == "1.50 (1.00 to 3.00)"
    assert ratios([0.0], [0.0]) == "-"


@pytest.mark.stress  # 13 s
def test_each_part_of_a_service_uses_processor_time_for_an_image(tmp_path: Path) -> None:
    store = write_store(tmp_path, "tiny-classifier")

    with gateway.serving(gateway.ROOT, store, "tiny-classifier", {"BENCH_KIND": "null"}) as checkout:
        gateway.measure(checkout, Load("/v1/classify", "64x48", callers=4, seconds=3, scrape_s=0.5))
        metrics = httpx.get(f"http://127.0.0.1:{checkout.port}/metrics").text

    row = dict(zip(gateway.HEAD, checkout.row(), strict=True))
    assert all(sum(checkout.cpu_ms[part]) > 0 for part in PARTS)
    assert set(checkout.outcomes) == {"ok"}
    (scrapes,) = re.findall(r'^resnest_http_requests_total\{.*route="/metrics".*\} (.*)$', metrics, re.MULTILINE)
    assert float(scrapes) >= 3
    assert 0 < float(row["p50 ms"]) <= float(row["p99 ms"])
    assert sum(checkout.outcomes.values()) == len(checkout.latency_ms)
