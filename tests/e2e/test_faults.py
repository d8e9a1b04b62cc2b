"""What callers see when model servers die and are replaced: nothing."""

from collections import Counter
from pathlib import Path

import pytest

from tests.e2e.fleet import Fleet, fleet
from tests.e2e.running import START_S, until
from tests.stores import write_store

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

MORE = 40  # answers between two faults


def more(answers: Counter[int], count: int = MORE) -> None:
    """Wait for so many further answers."""
    before = answers.total()
    until(lambda: answers.total() >= before + count, START_S, lambda: dict(answers))


def replace_all(servers: Fleet, answers: Counter[int]) -> None:
    """End and start each model server in turn, when the one before is back."""
    for worker in servers.workers:
        more(answers)
        worker.stop()
        more(answers)
        worker.start()
        more(answers)
        servers.await_whole()


def test_killed_workers_and_a_rolling_restart_of_torchserves_under_load_lose_no_request(tmp_path: Path) -> None:
    with fleet(write_store(tmp_path / "store", "tiny-classifier")) as servers:
        with servers.loaded() as answers:
            more(answers)
            servers.workers[0].kill_a_worker()
            more(answers)
            servers.await_whole()
            replace_all(servers, answers)
        metrics = servers.client.get("/metrics").text

    assert set(answers) == {200}, answers
    assert answers.total() > 7 * MORE
    assert 'resnest_second_tries_total{model="tiny-classifier",outcome="failed"} 0.0' in metrics
