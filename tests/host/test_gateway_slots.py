"""Gateway slots: the environment, inherited counters, and when an instance of several processes is ready."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from service.host import gateway_slots
from service.host.gateway_slots import (
    EMPTY,
    READY,
    SINGLE_PROCESS,
    GatewaySlot,
    SharedReadiness,
    SlotStates,
    create_folder,
    open_states,
)


def test_a_seat_is_handed_on_by_the_environment(tmp_path: Path) -> None:
    slot = GatewaySlot(tmp_path, 2, 4, 4711)

    assert GatewaySlot.from_environment({"PATH": "/bin", **slot.environment}) == slot
    assert GatewaySlot.from_environment({"PATH": "/bin"}) is None


def test_all_are_ready_when_nobody_is_waited_for(tmp_path: Path) -> None:
    create_folder(tmp_path / "shared", 2)
    with open_states(tmp_path / "shared") as one, open_states(tmp_path / "shared") as other:
        assert not one.all_ready
        one.set(0, READY)
        assert not other.all_ready
        other.set(1, EMPTY)
        assert one.all_ready


def test_counts_outlive_a_process_and_what_it_said_of_itself_does_not(tmp_path: Path) -> None:
    names = {"counter", "histogram", "gauge_livesum", "gauge_livemostrecent"}
    for process in (7, 8):
        for name in names:
            (tmp_path / f"{name}_{process}.db").write_bytes(b"%d" % process)

    assert gateway_slots.has_counters(tmp_path, 7)
    gateway_slots.remove_gauges(tmp_path, 7)
    GatewaySlot(tmp_path, 0, 2, previous_pid=7).inherit_counters()

    left = {path.name for path in tmp_path.iterdir()}
    assert left == {f"counter_{os.getpid()}.db", f"histogram_{os.getpid()}.db", *(f"{name}_8.db" for name in names)}
    assert (tmp_path / f"counter_{os.getpid()}.db").read_bytes() == b"7"
    assert not gateway_slots.has_counters(tmp_path, 7)


def test_the_first_in_a_seat_inherits_nothing(tmp_path: Path) -> None:
    GatewaySlot(tmp_path, 0, 2).inherit_counters()

    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[SlotStates]:
    """Yield the states of two processes that both wait for their models."""
    create_folder(tmp_path / "shared", 2)
    with open_states(tmp_path / "shared") as opened:
        yield opened


def test_who_is_alone_waits_for_nobody() -> None:
    SINGLE_PROCESS.report(ready=False)
    SINGLE_PROCESS.leave()

    assert SINGLE_PROCESS.all_ready
    assert not SINGLE_PROCESS.is_replacement


def test_none_is_ready_before_all_are(shared: SlotStates, tmp_path: Path) -> None:
    first, second = (SharedReadiness(GatewaySlot(tmp_path, number, 2), shared) for number in range(2))
    found = []
    steps: list[Callable[[], None]] = [
        lambda: first.report(ready=True),
        lambda: second.report(ready=True),
        lambda: second.report(ready=False),
        second.leave,
    ]
    for step in steps:
        step()
        found.append(first.all_ready)
    assert found == [False, True, False, True]


def test_one_that_replaces_another_holds_nobody_back_until_it_has_sat_down(shared: SlotStates, tmp_path: Path) -> None:
    for number in range(2):
        shared.set(number, READY)
    new = SharedReadiness(GatewaySlot(tmp_path, 1, 2, previous_pid=4711), shared)
    found = []
    for is_started in (False, True):
        if is_started:
            new.finish_start()
        new.report(ready=False)
        found.append(new.all_ready)
    assert found == [True, False]
