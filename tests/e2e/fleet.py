"""A gateway in front of two TorchServes, each a process of its own as in a cluster, and callers who never stop."""

import os
import signal
import subprocess
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil

from service.folders import short_folder
from service.processes import free_port
from tests.e2e.running import COMMAND, START_S, until
from tests.e2e.test_answers import upload

CALLERS = 8
WORKER = "model_service_worker"


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
        """As an orchestrator does, but without a pause before: what it is computing is cut."""
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
        family = psutil.Process(self.process.pid).children(recursive=True)
        next(each for each in family if WORKER in " ".join(each.cmdline())).send_signal(signal.SIGKILL)


class Fleet:
    """Two model servers, and a client of the gateway before them."""

    def __init__(self, workers: list[Server], gateway: Server, client: httpx.Client) -> None:
        self.workers = workers
        self.gateway = gateway
        self.client = client

    def ready_workers(self) -> int:
        """As the gateway sees them; 0 while it cannot be asked."""
        try:
            told = self.client.get("/readyz").json()
        except httpx.HTTPError:
            return 0
        return int(told["models"]["tiny-classifier"]["workers_ready"])

    def await_whole(self) -> None:
        until(lambda: self.ready_workers() == len(self.workers), START_S)

    @contextmanager
    def loaded(self) -> Iterator[Counter[int]]:
        """Callers that ask all the time until the end of the `with`: their answers by status, 0 for none at all."""
        answers: Counter[int] = Counter()
        stop = threading.Event()

        def call(seed: int) -> None:
            data = upload(seed, 96, 72, "PNG")
            with httpx.Client(base_url=self.client.base_url, timeout=60) as client:
                while not stop.is_set():
                    answers[status(lambda: client.post("/v1/classify", content=data))] += 1

        callers = [threading.Thread(target=call, args=(seed,)) for seed in range(CALLERS)]
        for caller in callers:
            caller.start()
        try:
            yield answers
        finally:
            stop.set()
            for caller in callers:
                caller.join()


def status(ask: Callable[[], httpx.Response]) -> int:
    try:
        return ask().status_code
    except httpx.HTTPError:
        return 0


@contextmanager
def fleet(store: Path) -> Iterator[Fleet]:
    """Both model servers and the gateway, ready; nothing of them is left afterwards."""
    with short_folder(tempfile.gettempdir()) as folder:
        yield from _fleet(store, folder)


def _fleet(store: Path, folder: Path) -> Iterator[Fleet]:
    started: list[Server] = []
    try:
        doors = [
            {door: f"http://127.0.0.1:{free_port()}" for door in ("inference", "management", "metrics")} for _ in "ab"
        ]
        for number, addresses in enumerate(doors):
            options = [word for door, address in addresses.items() for word in (f"--{door}-address", address)]
            environment = {"RESNEST_MODEL_STORE": str(store), "OMP_NUM_THREADS": "1"}
            started.append(Server(folder / f"worker{number}", ["worker", *options], environment))
        port = free_port()
        told = {
            "RESNEST_MODEL_STORE": str(store),
            "RESNEST_PORT": str(port),
            "RESNEST_INFERENCE_URL": ",".join(each["inference"] for each in doors),
            "RESNEST_MANAGEMENT_URL": ",".join(each["management"] for each in doors),
        }
        started.append(Server(folder / "gateway", ["gateway"], told))
        *workers, gateway = started
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            made = Fleet(workers, gateway, client)
            made.await_whole()
            yield made
    finally:
        for server in reversed(started):
            server.destroy()
