"""Tests of the measured CPU and memory use of a server's processes."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from service.host.processes import free_port
from service.measure.load import usage
from service.measure.load.http_connection import Address
from service.measure.load.usage import Process, between, name_of

# A parent that sleeps, and a child that listens and keeps a core busy until its input ends.
PARENT = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1], sys.argv[2]])"
CHILD = """
import select, socket, sys
with socket.create_server(("127.0.0.1", int(sys.argv[1]))):
    while not select.select([sys.stdin], [], [], 0)[0]:
        sum(range(10_000))
"""


@pytest.fixture
def family() -> Iterator[tuple[int, int]]:
    """Return the process id of the parent and the port of the child."""
    port = free_port()
    command = [sys.executable, "-c", PARENT, CHILD, str(port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as parent:
        assert parent.stdin is not None
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with socket.socket() as connection:
                if connection.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield parent.pid, port
        parent.stdin.close()
        parent.wait(30)


def test_the_process_that_listens_is_found_and_its_family_measured(family: tuple[int, int]) -> None:
    parent, port = family
    listening = usage.root_of(Address("127.0.0.1", port))
    before = usage.snapshot(parent)
    assert set(before) == {parent, listening}
    begun = time.monotonic()
    while usage.snapshot(parent)[listening or 0].cpu_s < before[listening or 0].cpu_s + 0.2:
        assert time.monotonic() < begun + 60
    seconds = time.monotonic() - begun
    busiest, idle = between(before, usage.snapshot(parent), seconds)
    assert busiest.pid == listening
    assert 0.2 / seconds - 0.1 < busiest.cores < 1.5
    assert idle.cores < busiest.cores
    assert 1 < busiest.rss_mb < 100


def test_a_service_on_another_host_cannot_be_seen() -> None:
    assert usage.root_of(Address("192.0.2.1", 80)) is None


def test_nobody_listening_is_nobody_to_see() -> None:
    assert usage.root_of(Address("127.0.0.1", free_port())) is None


def test_a_process_that_has_gone_leaves_no_figures() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert usage.snapshot(gone.pid) == {}


def test_the_process_itself_can_be_seen() -> None:
    assert usage.snapshot(os.getpid())[os.getpid()].rss > 1e6


def test_use_is_the_difference_over_the_time_and_a_new_process_has_used_all_of_its_own() -> None:
    before = {1: Process("old", 10.0, 5_000_000), 2: Process("gone", 1.0, 1)}
    after = {1: Process("old", 12.0, 7_000_000), 3: Process("new", 8.0, 1_000_000)}
    new, old = between(before, after, 4.0)
    assert (new.pid, new.cores) == (3, 2.0)
    assert (old.pid, old.cores, old.rss_mb) == (1, 0.5, 7.0)


FORK_SERVER = (
    "from multiprocessing.forkserver import main; main(8, 9, ['__main__', 'service.tasks.decode_jobs', 'other'], "
    "**{'sys_path': ['/x/lib/python3.11/site-packages']})"
)


@pytest.mark.parametrize(
    ("command_line", "name"),
    [
        (["/usr/bin/python3.11", "-m", "service", "gateway"], "service gateway"),
        (["python", "/x/bin/resnest-service", "run"], "resnest-service run"),
        (["python", "/x/worker.py", "--sock-type", "unix"], "worker.py"),
        (["/opt/java/bin/java", "-Xmx512m", "org.example.Main"], "java"),
        (["python", "-c", FORK_SERVER], "service.tasks.decode_jobs"),
        (["python", "-c", "from multiprocessing.spawn import spawn_main; spawn_main()"], "multiprocessing.spawn"),
        (["python", "-c", "print(1)"], "python -c"),
        (["python3"], "python3"),
        ([], "?"),
    ],
)
def test_a_process_is_named_by_what_it_is_for(command_line: list[str], name: str) -> None:
    assert name_of(command_line) == name
