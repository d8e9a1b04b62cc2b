"""What callers see when model servers die and are replaced: nothing."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.e2e.fleet import Fleet, Server, fleet
from tests.e2e.running import START_S, until
from tests.stores import write_store

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

MORE = 40  # answers between two faults


def more(answers: Counter[int], count: int = MORE) -> None:
    """Wait for so many further answers."""
    before = answers.total()
    until(lambda: answers.total() >= before + count, START_S, lambda: dict(answers))


def replace_workers(servers: Fleet, answers: Counter[int]) -> None:
    """End and start each model server in turn, when the one before is back."""
    replace(servers.workers, servers, answers)


def replace_gateways(servers: Fleet, answers: Counter[int]) -> None:
    """The same with each gateway."""
    replace(servers.gateways, servers, answers)


def replace(members: Sequence[Server], servers: Fleet, answers: Counter[int]) -> None:
    for member in members:
        more(answers)
        member.stop()
        more(answers)
        member.start()
        more(answers)
        servers.await_whole()


def test_killed_workers_and_rolling_restarts_under_load_lose_no_request(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", "tiny-classifier")
    with fleet(store, gateways=2) as servers, servers.loaded() as answers:
        more(answers)
        servers.workers[0].kill_a_worker()
        more(answers)
        servers.await_whole()
        replace_workers(servers, answers)
        metrics = [client.get("/metrics").text for client in servers.clients]
        replace_gateways(servers, answers)

    assert set(answers) == {200}, answers
    assert answers.total() > 13 * MORE
    for told in metrics:
        assert 'resnest_retries_total{model="tiny-classifier",outcome="failed"} 0.0' in told
