"""What several gateway processes tell each other through the folder that they share."""

import os
from pathlib import Path

from service.host import gateway_slots
from service.host.gateway_slots import EMPTY, READY, GatewaySlot, lay, states


def test_a_seat_is_handed_on_by_the_environment(tmp_path: Path) -> None:
    seat = GatewaySlot(tmp_path, 2, 4, 4711)

    assert GatewaySlot.taken({"PATH": "/bin", **seat.environment}) == seat
    assert GatewaySlot.taken({"PATH": "/bin"}) is None


def test_all_are_ready_when_nobody_is_waited_for(tmp_path: Path) -> None:
    lay(tmp_path / "shared", 2)
    with states(tmp_path / "shared") as one, states(tmp_path / "shared") as other:
        assert not one.all_ready
        one.tell(0, READY)
        assert not other.all_ready
        other.tell(1, EMPTY)
        assert one.all_ready


def test_counts_outlive_a_process_and_what_it_said_of_itself_does_not(tmp_path: Path) -> None:
    names = {"counter", "histogram", "gauge_livesum", "gauge_livemostrecent"}
    for process in (7, 8):
        for name in names:
            (tmp_path / f"{name}_{process}.db").write_bytes(b"%d" % process)

    assert gateway_slots.has_counted(tmp_path, 7)
    gateway_slots.clear(tmp_path, 7)
    GatewaySlot(tmp_path, 0, 2, before=7).inherit()

    left = {path.name for path in tmp_path.iterdir()}
    assert left == {f"counter_{os.getpid()}.db", f"histogram_{os.getpid()}.db", *(f"{name}_8.db" for name in names)}
    assert (tmp_path / f"counter_{os.getpid()}.db").read_bytes() == b"7"
    assert not gateway_slots.has_counted(tmp_path, 7)


def test_the_first_in_a_seat_inherits_nothing(tmp_path: Path) -> None:
    GatewaySlot(tmp_path, 0, 2).inherit()

    assert list(tmp_path.iterdir()) == []
