"""When several processes are ready, and whom one that replaces another keeps waiting."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from service.gateway.inference.siblings import ALONE, SlotMember
from service.host.gateway_slots import READY, GatewaySlot, SlotStates, lay, states


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[SlotStates]:
    """The states of two processes, both waited for."""
    lay(tmp_path / "shared", 2)
    with states(tmp_path / "shared") as opened:
        yield opened


def test_who_is_alone_waits_for_nobody() -> None:
    ALONE.tell(ready=False)
    ALONE.leave()

    assert ALONE.others_ready
    assert not ALONE.replaces


def test_none_is_ready_before_all_are(shared: SlotStates, tmp_path: Path) -> None:
    first, second = (SlotMember(GatewaySlot(tmp_path, number, 2), shared) for number in range(2))
    found = []
    steps: list[Callable[[], None]] = [
        lambda: first.tell(ready=True),
        lambda: second.tell(ready=True),
        lambda: second.tell(ready=False),
        second.leave,
    ]
    for step in steps:
        step()
        found.append(first.others_ready)
    assert found == [False, True, False, True]


def test_one_that_replaces_another_holds_nobody_back_until_it_has_sat_down(shared: SlotStates, tmp_path: Path) -> None:
    for number in range(2):
        shared.tell(number, READY)
    new = SlotMember(GatewaySlot(tmp_path, 1, 2, before=4711), shared)
    found = []
    for sits in (False, True):
        if sits:
            new.sit_down()
        new.tell(ready=False)
        found.append(new.others_ready)
    assert found == [True, False]
