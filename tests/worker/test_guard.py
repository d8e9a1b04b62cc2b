"""The parent of a worker process: how it tells the end of its child. Real processes."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.e2e.running import until

PROGRAM = """
import os, signal, socket, sys, time
from service.worker import guard
def serve(announce):
    mine, other = socket.socketpair()
    announce("cat", sys.argv[1], mine)
    print(os.getpid(), flush=True)
    exec(sys.argv[2])
guard.run(serve)
"""
WAIT_S = 20.0


def guarded(serve: str, role: str = "leader", **environment: str) -> subprocess.Popen[str]:
    """Start a guard whose child runs the code `serve`."""
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, role, serve],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, dict[str, Any]]:
    """Return the exit code, and the line on standard error."""
    _, errors = process.communicate(timeout=WAIT_S)
    return process.returncode, json.loads(errors) if errors else {}


@pytest.mark.parametrize(
    ("serve", "code", "event"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", 137, "the worker process was ended by signal SIGKILL"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", 139, "the worker process was ended by signal SIGSEGV"),
        ("os._exit(3)", 3, "the worker process ended with code 3"),
    ],
)
def test_a_death_is_told_with_its_signal_or_code_the_model_and_the_process(serve: str, code: int, event: str) -> None:
    found, line = ended(guarded(serve))

    assert found == code
    assert line.pop("pid") > 0
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "warning",
        "component": "worker",
        "logger": "service.worker",
        "event": event,
        "model": "cat",
        "role": "leader",
        "exit_code": code if code < 128 else 128 - code,
    }


def test_an_end_without_an_error_is_not_told() -> None:
    assert ended(guarded("pass")) == (0, {})
    assert ended(guarded("sys.exit(0)")) == (0, {})


def test_a_follower_that_ends_with_its_leader_is_no_warning() -> None:
    assert ended(guarded("sys.exit(1)", role="follower"))[1]["level"] == "info"
    assert ended(guarded("os._exit(2)", role="follower"))[1]["level"] == "warning"


def test_the_line_is_text_where_the_log_is() -> None:
    _, errors = guarded("os._exit(3)", RESNEST_LOG_FORMAT="text").communicate(timeout=WAIT_S)

    assert errors.startswith("WARNING service.worker the worker process ended with code 3 model=cat role=leader pid=")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_worker_process_ends_with_its_guard(number: signal.Signals) -> None:
    process = guarded("time.sleep(60)")
    assert process.stdout
    child = psutil.Process(int(process.stdout.readline()))
    until(lambda: "service.worker.guard" in psutil.Process(process.pid).cmdline(), WAIT_S)
    process.send_signal(number)
    process.communicate(timeout=WAIT_S)
    deadline = time.monotonic() + WAIT_S
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
        time.sleep(0.01)

    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_a_process_that_ends_before_it_has_told_its_facts_is_told_without_them() -> None:
    program = PROGRAM.replace('    announce("cat", sys.argv[1], mine)\n', "")
    done = subprocess.run(
        [sys.executable, "-c", program, "leader", "os._exit(3)"],
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )

    assert done.returncode == 3
    assert json.loads(done.stderr)["model"] == ""


def test_the_connection_ends_only_after_the_line_is_written(tmp_path: Path) -> None:
    """TorchServe kills the guard, and reads no more, as soon as the connection ends."""
    address = tmp_path / "s"
    program = PROGRAM.replace("mine, other = socket.socketpair()", f"mine = connect({str(address)!r})")
    connect = "def connect(address):\n    it = socket.socket(socket.AF_UNIX)\n    it.connect(address)\n    return it\n"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(address))
        listener.listen()
        with subprocess.Popen(
            [sys.executable, "-c", f"import socket\n{connect}{program}", "leader", "os._exit(3)"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(WAIT_S)
                assert connection.recv(1) == b""
            assert process.stderr
            os.set_blocking(process.stderr.fileno(), False)
            assert b"ended with code 3" in (process.stderr.read() or b"")
            process.wait(WAIT_S)
