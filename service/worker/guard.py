"""The parent of a worker process, which logs how the process ended: only a parent learns the signal or code.

TorchServe starts `model_service_worker.py` and logs no cause. That program forks, and its parent part becomes this one.
TorchServe kills this process as soon as the worker's connection ends. So this process holds the connection too, until
it has written its line.
"""

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence

from service.host.processes import ending, parent_death_signal

LONGEST_FACTS = 4096  # bytes
READ_S = 0.1  # for TorchServe to read the line, before it sees the end of the connection

Announce = Callable[[str, str, socket.socket], object]


def run(serve: Callable[[Announce], object]) -> None:
    """Call `serve` in a child process; become its guard, which logs how it ends and exits with the same code.

    `serve` gets a function to tell the model, the role of the process and its connection. The kernel kills the child
    if this process ends: TorchServe stops only the process that it started.
    """
    ours, childs = socket.socketpair()
    kill_with_parent = parent_death_signal(os.getpid(), signal.SIGKILL)
    child = os.fork()
    if child == 0:
        ours.close()
        kill_with_parent()
        serve(lambda *facts: _tell(childs, *facts))
        sys.exit(0)
    childs.close()
    ours.set_inheritable(True)
    command = [sys.executable, "-m", "service.worker.guard", str(child), str(ours.fileno())]
    os.execv(sys.executable, command)  # noqa: S606 - so that tools show a program of its own, with little memory


def main(arguments: Sequence[str]) -> None:
    """Wait for a child process, log how it ended, and exit with its code, or with 128 and the number of the signal.

    The arguments are its process id and the socket on which it tells its facts.
    """
    child, descriptor = map(int, arguments)
    with socket.socket(fileno=descriptor) as told:
        facts, held, _, _ = socket.recv_fds(told, LONGEST_FACTS, 1)  # nothing if the child ends before
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        if code:
            model, _, role = facts.decode(errors="replace").partition("\n")
            report(code, child, model, role)
            time.sleep(READ_S if held else 0)
    sys.exit(code if code >= 0 else 128 - code)


def report(code: int, pid: int, model: str, role: str) -> None:
    """Write to standard error how a process ended: a line of `service.config.logs`, JSON unless the form is text."""
    # A follower ends after its leader has.
    level = "info" if role == "follower" and code == 1 else "warning"
    fields = {"model": model, "role": role, "pid": pid, "exit_code": code}
    event = f"the worker process {ending(code)}"
    if os.environ.get("RESNEST_LOG_FORMAT") == "text":
        line = " ".join([level.upper(), "service.worker", event, *(f"{key}={value}" for key, value in fields.items())])
    else:
        now = time.time()
        moment = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now))}.{int(now % 1 * 1000):03d}Z"
        head = {"time": moment, "level": level, "component": "worker", "logger": "service.worker", "event": event}
        line = json.dumps({**head, **fields})
    print(line, file=sys.stderr, flush=True)  # noqa: T201


def _tell(guard: socket.socket, model: str, role: str, connection: socket.socket) -> None:
    socket.send_fds(guard, [f"{model}\n{role}".encode()[:LONGEST_FACTS]], [connection.fileno()])
    guard.close()


if __name__ == "__main__":
    main(sys.argv[1:])
