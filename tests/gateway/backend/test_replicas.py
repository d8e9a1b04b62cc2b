"""Which model servers exist as names change, and which of them gets a request."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from service.config.settings import ServerAddress
from service.gateway.backend.replicas import Replacements, Replica, Replicas, WorkerStatus, resolve
from tests.gateway.conftest import until

pytestmark = pytest.mark.anyio

MODEL = "m"


class Names:
    """A DNS resolver whose answers are set by hand."""

    def __init__(self) -> None:
        self.addresses: dict[str, list[str]] = {}
        self.asked = 0

    async def __call__(self, host: str) -> list[str]:
        self.asked += 1
        if host not in self.addresses:
            raise OSError("no such name")
        return self.addresses[host]


@pytest.fixture
def names() -> Names:
    return Names()


@pytest.fixture
async def workers(names: Names) -> AsyncIterator[Replicas]:
    replicas = Replicas([ServerAddress("http://workers:8080", "http://workers:8081")], names, interval_s=0)
    yield replicas
    await replicas.close()


def names_of(replicas: Replicas) -> list[str]:
    return sorted(replica.name for replica in replicas.present)


def at(*addresses: str) -> list[str]:
    return [f"http://workers:8080 at {address}" for address in addresses]


async def chosen(replicas: Replicas, times: int = 300) -> Counter[str]:
    """Count how often each replica is chosen."""
    return Counter(replica.name[-1] for _ in range(times) if (replica := replicas.choose(MODEL)) is not None)


async def test_every_address_of_a_name_is_a_replica_and_they_follow_the_name(workers: Replicas, names: Names) -> None:
    names.addresses["workers"] = ["10.0.0.1", "10.0.0.2"]
    await workers.refresh()
    first = {replica.name: replica for replica in workers.present}
    names.addresses["workers"] = ["10.0.0.2", "10.0.0.3"]
    await workers.refresh()

    assert names_of(workers) == at("10.0.0.2", "10.0.0.3")
    (kept,) = at("10.0.0.2")
    assert first[kept] in workers.present


async def test_a_name_that_cannot_be_looked_up_means_what_it_meant_before(
    workers: Replicas, names: Names, caplog: pytest.LogCaptureFixture
) -> None:
    names.addresses["workers"] = ["10.0.0.1"]
    await workers.refresh()
    del names.addresses["workers"]
    await workers.refresh()

    assert names_of(workers) == at("10.0.0.1")
    assert "workers cannot be resolved" in caplog.text


async def test_names_are_looked_up_again_after_their_time_and_soon_where_nothing_is_known(names: Names) -> None:
    replicas = Replicas([ServerAddress("http://workers:8080", "http://workers:8081")], names, interval_s=600)
    await asyncio.gather(*(replicas.refresh() for _ in range(5)))
    assert names.asked == 1

    names.addresses["workers"] = ["10.0.0.1"]

    async def found() -> bool:
        await replicas.refresh()
        return names_of(replicas) == at("10.0.0.1")

    await until(found, 30)
    await replicas.refresh()
    assert names.asked == 2
    await replicas.close()


async def test_sockets_and_addresses_are_replicas_by_themselves() -> None:
    servers = [ServerAddress("unix:/a", "unix:/b"), ServerAddress("http://127.0.0.1:80", "http://127.0.0.1:81")]
    replicas = Replicas(servers)
    await replicas.refresh()

    assert names_of(replicas) == ["http://127.0.0.1:80", "unix:/a"]
    await replicas.close()


async def test_a_name_of_both_families_is_one_server() -> None:
    assert await resolve("127.0.0.1") == ["127.0.0.1"]
    assert await resolve("::1") == ["::1"]
    assert len(await resolve("localhost")) == 1


async def many(workers: Replicas, names: Names, count: int) -> list[Replica]:
    names.addresses["workers"] = [f"10.0.0.{number}" for number in range(count)]
    await workers.refresh()
    return sorted(workers.present, key=lambda replica: replica.name)


async def test_requests_go_to_all_and_mostly_to_those_with_less_to_do(workers: Replicas, names: Names) -> None:
    replicas = await many(workers, names, 4)
    replicas[0].circuit(MODEL).in_flight = 5
    found = await chosen(workers)

    assert set(found) == {"1", "2", "3"}, "of any two replicas the busiest is never chosen"
    assert min(found.values()) > 30


async def test_one_that_was_tried_is_not_chosen(workers: Replicas, names: Names) -> None:
    replicas = await many(workers, names, 2)

    assert {workers.choose(MODEL, [replicas[0]]) for _ in range(50)} == {replicas[1]}
    assert workers.choose(MODEL, replicas) is None


async def test_one_without_a_ready_worker_of_the_model_is_passed_by_while_another_has_one(
    workers: Replicas, names: Names
) -> None:
    replicas = await many(workers, names, 3)
    replicas[0].worker_status[MODEL] = WorkerStatus(registered=True)
    replicas[1].worker_status[MODEL] = WorkerStatus(frozenset({7}), registered=True)

    assert set(await chosen(workers)) == {"1", "2"}, "the status of the third is unknown"
    for replica in replicas:
        replica.worker_status[MODEL] = WorkerStatus()
    assert set(await chosen(workers)) == {"0", "1", "2"}


@pytest.mark.parametrize(
    ("replicas", "failing", "used"), [(1, 1, 1), (2, 1, 1), (2, 2, 1), (3, 1, 2), (4, 1, 3), (4, 3, 2), (4, 4, 2)]
)
async def test_those_that_fail_are_left_alone_unless_too_few_would_be_left(
    replicas: int, failing: int, used: int, workers: Replicas, names: Names
) -> None:
    for replica in (await many(workers, names, replicas))[:failing]:
        replica.circuit(MODEL).failed(immediately=True)

    assert len(await chosen(workers)) == used
    assert workers.circuits(MODEL) == {"open": failing} | ({"closed": replicas - failing} if replicas > failing else {})


async def test_a_model_that_fails_somewhere_leaves_the_others_there_in_use(workers: Replicas, names: Names) -> None:
    replicas = await many(workers, names, 2)
    replicas[0].circuit("another").failed(immediately=True)

    assert set(await chosen(workers)) == {"0", "1"}


@pytest.mark.parametrize(
    ("management", "pinned"),
    [("http://workers:8081", True), ("http://elsewhere:8081", False), ("unix:/socket", False)],
)
def test_the_management_door_is_at_the_same_address_where_it_has_the_same_name(
    management: str,
    pinned: bool,  # noqa: FBT001
) -> None:
    replica = Replica.at(ServerAddress("http://workers:8080", management), "10.0.0.1")

    assert (replica.management._address == "10.0.0.1") is pinned


def counted(*seen: set[int] | None) -> list[tuple[str, int]]:
    """Return the causes and numbers of replacements, from the processes that were ready; None for a lost server."""
    replacements, found = Replacements(), []
    for ready in seen:
        if ready is None:
            replacements.server_was_lost = True
        else:
            found.append(replacements.count(frozenset(ready)))
    return [each for each in found if each[1]]


def test_a_process_in_the_place_of_a_lost_one_is_a_replacement() -> None:
    assert counted({1, 2}, {2}, {2, 3}) == [("process", 1)]
    assert counted({1, 2}, set(), {3}, {3, 4}) == [("process", 1), ("process", 1)]
    assert counted({1}, {2}) == [("process", 1)]


def test_the_first_processes_and_further_ones_replace_nothing() -> None:
    assert counted(set(), {1}, {1, 2}, {1, 2, 3}) == []
    assert counted({1, 2}, {1}) == []


def test_processes_that_were_lost_with_their_server_are_told_apart() -> None:
    assert counted({1}, None, None, set(), {5}, {6}) == [("server", 1), ("process", 1)]


async def test_a_replica_that_will_stop_is_chosen_only_if_there_is_no_other(workers: Replicas, names: Names) -> None:
    names.addresses["workers"] = ["10.0.0.1", "10.0.0.2"]
    await workers.refresh()
    first, second = sorted(workers.present, key=lambda replica: replica.name)
    first.note_draining()

    assert await chosen(workers) == {"2": 300}
    assert workers.choose(MODEL, tried=[second]) is first
    second.note_draining()
    assert set(await chosen(workers)) == {"1", "2"}


async def test_a_replica_that_was_restarted_is_used_again(
    workers: Replicas, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.gateway.backend.replicas.DRAIN_S", 0.0)
    names.addresses["workers"] = ["10.0.0.1", "10.0.0.2"]
    await workers.refresh()
    workers.present[0].note_draining()

    assert set(await chosen(workers)) == {"1", "2"}


def test_a_server_that_did_not_listen_yet_is_no_cause_of_a_later_replacement() -> None:
    assert counted(None, set(), {1, 2}, {2}, {2, 3}) == [("process", 1)]
    assert counted({1, 2}, None, {1, 2}, {2}, {2, 3}) == [("process", 1)]
