"""Processes that end with their parent; that the kernel does it is shown with `processes` and `gateway.isolation`."""

import os
import signal
import subprocess
import sys
import time

from service.host.parent_death import ending_with


def test_a_process_whose_parent_is_another_already_ends_at_once() -> None:
    child = os.fork()
    if child == 0:
        ending_with(os.getpid(), signal.SIGTERM)()
        os._exit(7)
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 1


def test_a_process_whose_parent_lives_goes_on() -> None:
    child = os.fork()
    if child == 0:
        ending_with(os.getppid(), signal.SIGTERM)()
        os._exit(7)
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 7


def test_the_signal_is_the_one_asked_for() -> None:
    code = (
        "import os, signal, time\nfrom service.host.parent_death import ending_with\n"
        "read, write = os.pipe()\n"
        "middle = os.fork()\n"
        "if middle:\n    os.close(write)\n    print(os.read(read, 9).decode())\n    raise SystemExit\n"
        "parent = os.getpid()\n"
        "if os.fork():\n    time.sleep(0.2)\n    os._exit(0)\n"
        "signal.signal(signal.SIGUSR1, lambda *_: (os.write(write, b'told'), os._exit(0)))\n"
        "ending_with(parent, signal.SIGUSR1)()\n"
        "time.sleep(30)\n"
    )
    begun = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)

    assert done.stdout.strip() == "told"
    assert time.monotonic() - begun < 60
