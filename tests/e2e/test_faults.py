"""Callers notice nothing when model servers die, and when a model is added in the order of the docs."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import pytest

from service.models.identity import identity
from service.models.zoo import read_all
from tests.e2e.fleet import Answers, Fleet, Server, fleet
from tests.e2e.running import START_S, until
from tests.e2e.test_answers import upload
from tests.laws.sources import ROOT
from tests.stores import write_store

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

MORE = 40  # answers between two faults
NEW = "tiny-classifier-b"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of one model. The last test adds another one."""
    return write_store(tmp_path_factory.mktemp("fleet"), "tiny-classifier")


@pytest.fixture(scope="module")
def servers(store: Path) -> Iterator[Fleet]:
    """Two model servers and two gateways, all ready before and after each test: their start takes 12 s of a core."""
    with fleet(store, gateways=2) as started:
        yield started


def wait_for_more(answers: Counter[int], count: int = MORE) -> None:
    """Wait for `count` further answers."""
    before = answers.total()
    until(lambda: answers.total() >= before + count, START_S, lambda: dict(answers))


def replace_workers(servers: Fleet, answers: Answers) -> None:
    """Restart the model servers one after the other, each when the one before is ready again."""
    replace(servers.workers, servers, answers)


def replace_gateways(servers: Fleet, answers: Answers) -> None:
    """Restart the gateways in the same way."""
    replace(servers.gateways, servers, answers)


def replace(members: Sequence[Server], servers: Fleet, answers: Answers) -> None:
    for member in members:
        wait_for_more(answers)
        member.stop()
        wait_for_more(answers)
        member.start()
        wait_for_more(answers)
        with answers.fewer():
            servers.await_all_ready()


def served(clients: Sequence[httpx.Client]) -> dict[str, str]:
    """Return the identity of each served model by name, on which all gateways agree."""
    found = []
    for client in clients:
        names = [each["name"] for each in client.get("/v1/models").json()["models"]]
        found.append({name: client.get(f"/v1/models/{name}").json()["identity"] for name in names})
    assert all(each == found[0] for each in found), found
    return found[0]


def statuses(servers: Fleet) -> list[int]:
    """Return what each gateway answers to an image for the new model."""
    path = f"/v1/classify?model={NEW}"
    return [client.post(path, content=upload(1)).status_code for client in servers.clients]


def check_retries(servers: Fleet) -> None:
    """Check that no gateway has lost a request by giving up its retries since its start."""
    for client in servers.clients:
        text = client.get("/metrics").text
        assert 'resnest_retries_total{model="tiny-classifier",outcome="failed"} 0.0' in text


def test_the_docs_say_the_order() -> None:
    text = (ROOT / "docs" / "operations" / "rollouts.md").read_text(encoding="utf-8")

    assert re.search(
        r"\[first the workers, then the gateways\]\(\S+\) to add models, and the other way to\s+remove", text
    )


def test_a_worker_that_is_killed_under_load_loses_no_request(servers: Fleet) -> None:
    with servers.loaded() as answers:
        wait_for_more(answers)
        servers.workers[0].kill_a_worker()
        wait_for_more(answers)
        with answers.fewer():
            servers.await_all_ready()
        wait_for_more(answers)

    assert set(answers) == {200}, answers
    check_retries(servers)


def test_rolling_restarts_under_load_that_add_a_model_lose_no_request(servers: Fleet, store: Path) -> None:
    with servers.loaded() as answers:
        write_store(store, NEW)
        replace_workers(servers, answers)
        assert list(served(servers.clients)) == ["tiny-classifier"]
        assert statuses(servers) == [404, 404]  # the workers have the model, and no gateway offers it yet
        check_retries(servers)
        replace_gateways(servers, answers)
        assert served(servers.clients) == {name: identity(card) for name, card in read_all(store).items()}
        assert statuses(servers) == [200, 200]

    assert set(answers) == {200}, answers
    assert answers.total() > 12 * MORE
    check_retries(servers)
