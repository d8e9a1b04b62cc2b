"""Gateways in front of two TorchServe instances, each its own process as in a cluster, and callers that never stop."""

import os
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
from tests.e2e.running import (
    COMMAND,
    NO_HTTPS,
    START_PAUSE_S,
    START_S,
    address_options,
    leader_of,
    until,
    worker_addresses,
)
from tests.e2e.test_answers import upload

CALLERS = 8
WORKER = "model_service_worker"
CHECK_INTERVAL_S = 0.2
DRAIN_S = 2.0  # of a gateway: several check intervals, so that the callers notice that it is not ready
PAUSE_S = (
    0.2  # of a caller after an answer, while a server starts: callers without pauses make a start three times longer
)


class Answers(Counter[int]):
    """The answers to callers by status, 0 for no answer, and how long each caller pauses after one."""

    pause_s = 0.0

    @contextmanager
    def fewer(self) -> Iterator[None]:
        """Let the callers pause between two requests during the `with`."""
        self.pause_s = PAUSE_S
        try:
            yield
        finally:
            self.pause_s = 0.0


class Server:
    """A command of this service with its own environment and temporary folder, which can be stopped and started."""

    def __init__(self, folder: Path, arguments: list[str], environment: Mapping[str, str]) -> None:
        folder.mkdir()
        self.folder = folder
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
        """Stop it as an orchestrator does, but without a pause before, so that requests still come."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(60)

    def destroy(self) -> None:
        """Stop it and all its descendants."""
        family = psutil.Process(self.process.pid).children(recursive=True) if self.process.poll() is None else []
        self.stop()
        for member in family:
            if member.is_running():
                member.kill()

    def kill_a_worker(self) -> None:
        """Kill a worker process, as the kernel does if it uses too much memory."""
        kill_a_worker(psutil.Process(self.process.pid))


def kill_a_worker(root: psutil.Process) -> None:
    """End a worker process below this one that has an engine, by `kill -9`."""
    leader_of(each for each in root.children(recursive=True) if WORKER in " ".join(each.cmdline())).kill()


class Fleet:
    """Two model servers, and the gateways in front of them, each with an HTTP client."""

    def __init__(self, workers: list[Server], gateways: list[Server], clients: list[httpx.Client]) -> None:
        self.workers = workers
        self.gateways = gateways
        self.clients = clients

    def ready_workers(self) -> int:
        """Return the smallest number of ready workers that a gateway reports; 0 while one does not answer."""
        return min(map(_ready_workers, self.clients))

    def await_all_ready(self) -> None:
        until(lambda: self.ready_workers() == len(self.workers), START_S, pause_s=START_PAUSE_S)

    @contextmanager
    def loaded(self) -> Iterator[Answers]:
        """Send requests to all gateways, as `loaded` does."""
        with loaded([str(client.base_url) for client in self.clients]) as answers:
            yield answers


def _ready_workers(client: httpx.Client) -> int:
    try:
        readiness = client.get("/readyz").json()
    except httpx.HTTPError:
        return 0
    if readiness.get("code") == "draining":
        return 0
    return int(readiness["models"]["tiny-classifier"]["workers_ready"])


@contextmanager
def loaded(urls: Sequence[str]) -> Iterator[Answers]:
    """Run callers that send requests until the end of the `with`; yield their answers by status, 0 for no answer.

    A gateway that is not ready gets no new request, as with an orchestrator's load balancer.
    """
    answers = Answers()
    stop = threading.Event()
    ready = list(urls)

    def check() -> None:
        with httpx.Client(timeout=5, verify=NO_HTTPS) as client:
            while not stop.wait(CHECK_INTERVAL_S):
                found = [url for url in urls if status(client, "GET", f"{url}/readyz") == 200]
                ready[:] = found or urls

    def call(seed: int) -> None:
        data = upload(seed, 96, 72, "PNG")
        number = seed
        with httpx.Client(timeout=60, verify=NO_HTTPS) as client:
            while not stop.is_set():
                number += 1
                url = f"{ready[number % len(ready)]}/v1/classify"
                answers[status(client, "POST", url, content=data)] += 1
                stop.wait(answers.pause_s)

    callers = [threading.Thread(target=call, args=(seed,)) for seed in range(CALLERS)]
    threads = [threading.Thread(target=check), *callers]
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
    """Start the model servers and gateways, yield them when all are ready, and end all their processes."""
    with short_folder(tempfile.gettempdir()) as folder:
        yield from _fleet(store, folder, gateways)


def _fleet(store: Path, folder: Path, gateways: int) -> Iterator[Fleet]:
    started: list[Server] = []
    clients: list[httpx.Client] = []
    try:
        servers = [worker_addresses() for _ in "ab"]
        for number, addresses in enumerate(servers):
            environment = {"RESNEST_MODEL_STORE": str(store), "OMP_NUM_THREADS": "1"}
            started.append(Server(folder / f"worker{number}", ["worker", *address_options(addresses)], environment))
        for number in range(gateways):
            port = free_port()
            environment = {
                "RESNEST_MODEL_STORE": str(store),
                "RESNEST_PORT": str(port),
                "RESNEST_INFERENCE_URL": ",".join(each["inference"] for each in servers),
                "RESNEST_MANAGEMENT_URL": ",".join(each["management"] for each in servers),
                "RESNEST_DRAIN_S": str(DRAIN_S),
            }
            started.append(Server(folder / f"gateway{number}", ["gateway"], environment))
            clients.append(httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60))
        made = Fleet(started[: len(servers)], started[len(servers) :], clients)
        made.await_all_ready()
        yield made
    finally:
        for client in clients:
            client.close()
        for server in reversed(started):
            server.destroy()
