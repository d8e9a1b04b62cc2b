"""Callers notice nothing when model servers die and are replaced."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.e2e.fleet import Fleet, Server, fleet
from tests.e2e.running import START_S, until
from tests.stores import write_store

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

MORE = 40  # answers between two faults


def wait_for_more(answers: Counter[int], count: int = MORE) -> None:
    """Wait for `count` further answers."""
    before = answers.total()
    until(lambda: answers.total() >= before + count, START_S, lambda: dict(answers))


def replace_workers(servers: Fleet, answers: Counter[int]) -> None:
    """Restart the model servers one after the other, each when the one before is ready again."""
    replace(servers.workers, servers, answers)


def replace_gateways(servers: Fleet, answers: Counter[int]) -> None:
    """Restart the gateways in the same way."""
    replace(servers.gateways, servers, answers)


def replace(members: Sequence[Server], servers: Fleet, answers: Counter[int]) -> None:
    for member in members:
        wait_for_more(answers)
        member.stop()
        wait_for_more(answers)
        member.start()
        wait_for_more(answers)
        servers.await_all_ready()


def test_killed_workers_and_rolling_restarts_under_load_lose_no_request(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", "tiny-classifier")
    with fleet(store, gateways=2) as servers, servers.loaded() as answers:
        wait_for_more(answers)
        servers.workers[0].kill_a_worker()
        wait_for_more(answers)
        servers.await_all_ready()
        replace_workers(servers, answers)
        metrics = [client.get("/metrics").text for client in servers.clients]
        replace_gateways(servers, answers)

    assert set(answers) == {200}, answers
    assert answers.total() > 13 * MORE
    for text in metrics:
        assert 'resnest_retries_total{model="tiny-classifier",outcome="failed"} 0.0' in text
