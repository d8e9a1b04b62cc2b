"""Gateways in front of two TorchServes, each a process of its own as in a cluster, and callers who never stop."""

import os
import signal
import subprocess
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil

from service.host.processes import free_port
from service.host.run_folders import short_folder
from tests.e2e.running import COMMAND, START_S, until
from tests.e2e.test_answers import upload

CALLERS = 8
WORKER = "model_service_worker"
LOOK_S = 0.2
DRAIN_S = 2.0  # of a gateway: several looks, so that whoever chooses has seen it


class Server:
    """A command of ours with an environment of its own, that can be ended and started again."""

    def __init__(self, folder: Path, arguments: list[str], environment: Mapping[str, str]) -> None:
        folder.mkdir()
        self._log = folder / "log"
        self._command = [COMMAND, *arguments]
        self._environment = {**os.environ, "TMPDIR": str(folder), **environment}
        self.start()

    def start(self) -> None:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command, env=self._environment, stdout=log, stderr=log, start_new_session=True
            )

    def stop(self) -> None:
        """As an orchestrator does, but without a pause before: what a model server is computing is cut."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(60)

    def destroy(self) -> None:
        """Leave nothing of it."""
        family = psutil.Process(self.process.pid).children(recursive=True) if self.process.poll() is None else []
        self.stop()
        for member in family:
            if member.is_running():
                member.kill()

    def kill_a_worker(self) -> None:
        """What the kernel does to a worker process that has taken too much memory."""
        kill_a_worker(psutil.Process(self.process.pid))


def kill_a_worker(root: psutil.Process) -> None:
    """End one of the worker processes below this one, by `kill -9`."""
    next(each for each in root.children(recursive=True) if WORKER in " ".join(each.cmdline())).send_signal(
        signal.SIGKILL
    )


class Fleet:
    """Two model servers, and the gateways before them, each with a client."""

    def __init__(self, workers: list[Server], gateways: list[Server], clients: list[httpx.Client]) -> None:
        self.workers = workers
        self.gateways = gateways
        self.clients = clients

    def ready_workers(self) -> int:
        """As the gateway that sees fewest sees them; 0 while one cannot be asked."""
        return min(map(_ready_workers, self.clients))

    def await_whole(self) -> None:
        until(lambda: self.ready_workers() == len(self.workers), START_S)

    @contextmanager
    def loaded(self) -> Iterator[Counter[int]]:
        """`loaded`, before all gateways."""
        with loaded([str(client.base_url) for client in self.clients]) as answers:
            yield answers


def _ready_workers(client: httpx.Client) -> int:
    try:
        told = client.get("/readyz").json()
    except httpx.HTTPError:
        return 0
    return int(told["models"]["tiny-classifier"]["workers_ready"]) if told.get("code") != "draining" else 0


@contextmanager
def loaded(urls: Sequence[str]) -> Iterator[Counter[int]]:
    """Callers that ask all the time until the end of the `with`: their answers by status, 0 for none at all.

    As an orchestrator's service does, a gateway that says that it is not ready gets no new request.
    """
    answers: Counter[int] = Counter()
    stop = threading.Event()
    ready = list(urls)

    def look() -> None:
        with httpx.Client(timeout=5) as client:
            while not stop.wait(LOOK_S):
                seen = [url for url in urls if status(client, "GET", f"{url}/readyz") == 200]
                ready[:] = seen or urls

    def call(seed: int) -> None:
        data = upload(seed, 96, 72, "PNG")
        turn = seed
        with httpx.Client(timeout=60) as client:
            while not stop.is_set():
                turn += 1
                url = f"{ready[turn % len(ready)]}/v1/classify"
                answers[status(client, "POST", url, content=data)] += 1

    threads = [threading.Thread(target=look), *(threading.Thread(target=call, args=(seed,)) for seed in range(CALLERS))]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def status(client: httpx.Client, method: str, url: str, **more: Any) -> int:
    try:
        return client.request(method, url, **more).status_code
    except httpx.HTTPError:
        return 0


@contextmanager
def fleet(store: Path, gateways: int = 1) -> Iterator[Fleet]:
    """Both model servers and the gateways, ready; nothing of them is left afterwards."""
    with short_folder(tempfile.gettempdir()) as folder:
        yield from _fleet(store, folder, gateways)


def _fleet(store: Path, folder: Path, gateways: int) -> Iterator[Fleet]:
    started: list[Server] = []
    clients: list[httpx.Client] = []
    try:
        doors = [
            {door: f"http://127.0.0.1:{free_port()}" for door in ("inference", "management", "metrics")} for _ in "ab"
        ]
        for number, addresses in enumerate(doors):
            options = [word for door, address in addresses.items() for word in (f"--{door}-address", address)]
            environment = {"RESNEST_MODEL_STORE": str(store), "OMP_NUM_THREADS": "1"}
            started.append(Server(folder / f"worker{number}", ["worker", *options], environment))
        for number in range(gateways):
            port = free_port()
            told = {
                "RESNEST_MODEL_STORE": str(store),
                "RESNEST_PORT": str(port),
                "RESNEST_INFERENCE_URL": ",".join(each["inference"] for each in doors),
                "RESNEST_MANAGEMENT_URL": ",".join(each["management"] for each in doors),
                "RESNEST_DRAIN_S": str(DRAIN_S),
            }
            started.append(Server(folder / f"gateway{number}", ["gateway"], told))
            clients.append(httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60))
        made = Fleet(started[: len(doors)], started[len(doors) :], clients)
        made.await_whole()
        yield made
    finally:
        for client in clients:
            client.close()
        for server in reversed(started):
            server.destroy()
