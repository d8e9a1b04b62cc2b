"""Ten thousand requests while workers are killed and model servers and gateways are replaced again and again."""

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from service.host.processes import free_port
from tests.e2e.fleet import Fleet, fleet, kill_a_worker, loaded
from tests.e2e.running import START_S, Running, running, until
from tests.e2e.test_faults import (
    MORE,
    NEW,
    check_retries,
    replace_gateways,
    replace_workers,
    served,
    statuses,
    wait_for_more,
)
from tests.stores import write_store
from tests.stress.scale import scaled

pytestmark = [pytest.mark.stress, pytest.mark.timeout(3600)]

REQUESTS = scaled(10_000)
# On a busy machine, a worker takes longer to start than a card's default deadline of ten seconds.
PATIENT = {"serving": {"deadline_s": 60}}
ROUNDS = 3  # at least, however fast the requests are


def until_all(answers: Counter[int], disturb: Callable[[], None]) -> None:
    """Call `disturb` until there are enough answers."""
    rounds = 0
    while answers.total() < REQUESTS or rounds < ROUNDS:
        disturb()
        rounds += 1
    wait_for_more(answers)
    print(f"{dict(answers)} over {rounds} disturbances")  # noqa: T201 - shown with `-rP`


def worker_answers(service: Running) -> bool:
    """Return whether the only worker answers."""
    readiness = service.client.get("/readyz").json()
    return bool(readiness["models"]["tiny-classifier"]["answered"])


def test_workers_killed_in_a_fleet_lose_none_of_ten_thousand_requests(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", "tiny-classifier", changes=PATIENT)
    with fleet(store) as servers, servers.loaded() as answers:

        def kill() -> None:
            for worker in servers.workers:
                wait_for_more(answers, REQUESTS // 20)
                worker.kill_a_worker()
                until(lambda: servers.ready_workers() < len(servers.workers), START_S)
                servers.await_all_ready()

        until_all(answers, kill)

    assert set(answers) == {200}, answers


def test_killings_of_the_only_worker_lose_none_of_ten_thousand_requests(tmp_path: Path) -> None:
    """The eight callers then wait for the next worker."""
    store = write_store(tmp_path / "store", "tiny-classifier", changes=PATIENT)
    with running(store, tmp_path / "run", free_port()) as service:
        service.await_ready()
        with loaded([str(service.client.base_url)]) as answers:

            def kill() -> None:
                wait_for_more(answers, REQUESTS // 10)
                kill_a_worker(psutil.Process(service.process.pid))
                until(lambda: not worker_answers(service), START_S)
                until(lambda: worker_answers(service), START_S)

            until_all(answers, kill)

    assert set(answers) == {200}, answers


@pytest.mark.parametrize("replace", [replace_workers, replace_gateways])
def test_rolling_restarts_lose_none_of_ten_thousand_requests(
    tmp_path: Path, replace: Callable[[Fleet, Counter[int]], None]
) -> None:
    store = write_store(tmp_path / "store", "tiny-classifier", changes=PATIENT)
    with fleet(store, gateways=2) as servers, servers.loaded() as answers:
        until_all(answers, lambda: replace(servers, answers))

    assert set(answers) == {200}, answers


def test_rolling_restarts_under_load_that_remove_a_model_lose_no_request(tmp_path: Path) -> None:
    """The order is the opposite of that in which a model is added."""
    store = write_store(tmp_path / "store", "tiny-classifier", NEW)
    with fleet(store, gateways=2) as servers:
        with servers.loaded() as answers:
            assert statuses(servers) == [200, 200]
            wait_for_more(answers)
            check_retries(servers)  # a restart of the gateways ends their counts
            shutil.rmtree(store / NEW)
            replace_gateways(servers, answers)
            assert list(served(servers.clients)) == ["tiny-classifier"]
            assert statuses(servers) == [404, 404]
            replace_workers(servers, answers)
            wait_for_more(answers)
        check_retries(servers)

    assert set(answers) == {200}, answers
    assert answers.total() > 12 * MORE
