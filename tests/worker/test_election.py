"""Of the processes of an engine one becomes the leader, and the others hand it their connections."""

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.worker import election
from service.worker.election import Follower, Leader, elect, welcome


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a path that is too long for the address of a socket, as a long TMPDIR gives."""
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    return folder / "model"


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Return both ends of a connection to TorchServe."""
    ends = socket.socketpair()
    yield ends
    for end in ends:
        end.close()


def led(path: Path, connection: socket.socket, engines: int = 1) -> Leader:
    found = elect(path, engines, connection)
    assert isinstance(found, Leader)
    return found


def close(leader: Leader) -> None:
    """Do what the kernel does when the leader ends."""
    leader.listener.close()
    leader.lock.close()


def test_the_first_process_leads_and_the_next_hands_it_its_connection(
    path: Path, pair: tuple[socket.socket, socket.socket]
) -> None:
    leader = led(path, pair[0])
    found: list[Leader | Follower] = []
    joining = threading.Thread(target=lambda: found.append(elect(path, 1, pair[0])))
    joining.start()
    control, _ = leader.listener.accept()
    passed = welcome(control)
    joining.join()

    (follower,) = found
    assert isinstance(follower, Follower)
    assert follower.leader == os.getpid()
    assert passed is not None
    pair[0].close()
    passed.sendall(b"from the leader")
    assert pair[1].recv(32) == b"from the leader"
    control.close()
    election.wait_for_end(follower.control)
    for each in (passed, follower.control):
        each.close()
    close(leader)


def test_a_leader_that_is_slow_to_answer_is_joined_at_the_first_attempt(
    path: Path, pair: tuple[socket.socket, socket.socket]
) -> None:
    leader = led(path, pair[0])
    found: list[Leader | Follower] = []
    joining = threading.Thread(target=lambda: found.append(elect(path, 1, pair[0], timeout_s=0.1)))
    joining.start()
    control, _ = leader.listener.accept()
    joining.join(1.5)
    assert joining.is_alive(), "the follower still waits for an answer"
    passed = welcome(control)
    joining.join()

    (follower,) = found
    assert isinstance(follower, Follower)
    assert passed is not None
    for each in (passed, control, follower.control):
        each.close()
    close(leader)


def test_a_leader_that_ended_has_a_successor(path: Path, pair: tuple[socket.socket, socket.socket]) -> None:
    close(led(path, pair[0]))
    close(led(path, pair[0]))


def test_each_engine_has_its_leader(path: Path, pair: tuple[socket.socket, socket.socket]) -> None:
    leaders = [led(path, pair[0], engines=2) for _ in range(2)]
    for leader in leaders:
        close(leader)


def test_a_process_without_a_place_gives_up_in_time(path: Path, pair: tuple[socket.socket, socket.socket]) -> None:
    leader = led(path, pair[0])

    def refuse() -> None:
        while True:
            try:
                leader.listener.accept()[0].close()
            except OSError:
                return

    refusing = threading.Thread(target=refuse)
    refusing.start()
    with pytest.raises(TimeoutError, match="no leader of model has a place"):
        elect(path, 1, pair[0], timeout_s=0.3)
    leader.listener.shutdown(socket.SHUT_RDWR)
    refusing.join()
    close(leader)


def test_a_follower_that_ends_while_it_joins_has_no_connection() -> None:
    control, other = socket.socketpair()
    other.close()
    assert welcome(control) is None
    control.close()
