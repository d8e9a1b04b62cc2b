"""A service whose answers come from all pixels of an image, callers that check them, and faults meanwhile."""

import math
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

from service.host.processes import free_port
from service.models import zoo
from service.tasks.shared_image import PREFIX
from tests.e2e.fleet import WORKER
from tests.e2e.running import NO_HTTPS, Running, running
from tests.gateway.fixtures.fake_outputs import offline_scores
from tests.gateway.fixtures.images import image_bytes
from tests.stores import write_store

MODEL = "tiny-classifier"
ROOT = Path(__file__).parents[2]
CARD = {"input": {"size": 160}, "serving": {"workers": 2, "max_batch_delay_ms": 0}}
DISTINCT = 64  # images with different answers
FORM = 8  # images in a request
CALLERS = 6
TIMEOUT_S = 2.0  # of a request; longer than the answer takes, shorter than the pauses of stopped processes
PAUSE_S = 2.5
BLOCKS = 12  # room in the arena of each gateway, so that blocks are used again at once and are lacking at times
# What a caller may get while processes are killed. None of it is about the image, and all of it may be sent again.
MAY_FAIL = {"backend_unavailable", "overloaded", "deadline_exceeded", "no_answer"}


@dataclass
class Outcomes:
    """How many images were answered correctly, what the others got, and the wrong answers."""

    failed: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    correct: int = 0

    @property
    def total(self) -> int:
        return self.correct + self.failed.total() + len(self.wrong)


@contextmanager
def serving(folder: Path, **settings: str) -> Iterator[Running]:
    """Run the service with the arenas in `folder / memory`."""
    store = write_store(folder / "store", MODEL, changes=CARD)
    (folder / "memory").mkdir()
    environment = {
        "PYTHONPATH": str(ROOT),
        "NULL_MODEL_HANDLER": "tests.null_model.digest_handler",
        "RESNEST_SHARED_MEMORY_DIR": str(folder / "memory"),
        "RESNEST_SHARED_MEMORY_BYTES": str(2 * BLOCKS * 80_000),
        "RESNEST_GATEWAY_WORKERS": "2",
        "RESNEST_MAX_IN_FLIGHT": "128",
    }
    program = [sys.executable, "-m", "tests.null_model.service"]
    with running(store, folder / "run", free_port(), program=program, **{**environment, **settings}) as service:
        service.await_ready()
        yield service


class Callers:
    """Callers that send forms of images and compare each answer with the one that this process computes."""

    def __init__(self, service: Running, folder: Path) -> None:
        card = zoo.read_all(folder / "store")[MODEL]
        contents = [image_bytes(size=(200 + seed, 180), seed=seed) for seed in range(DISTINCT)]
        self._images = [(content, sorted(offline_scores(card, content), reverse=True)) for content in contents]
        self._url = f"{service.client.base_url}/v1/classify?top_k={len(card.classes)}"
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self.outcomes = Outcomes()

    @contextmanager
    def calling(self) -> Iterator[Outcomes]:
        """Send images until the end of the `with`."""
        threads = [threading.Thread(target=self._call, args=(seed,)) for seed in range(CALLERS)]
        for thread in threads:
            thread.start()
        try:
            yield self.outcomes
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def _call(self, seed: int) -> None:
        chance = random.Random(seed)
        with httpx.Client(timeout=60, verify=NO_HTTPS) as client:
            while not self._stop.is_set():
                chosen = chance.choices(self._images, k=FORM)
                files = [("file", (f"{index}.png", content)) for index, (content, _) in enumerate(chosen)]
                try:
                    response = client.post(self._url, files=files, headers={"Request-Timeout": str(TIMEOUT_S)})
                except httpx.HTTPError:  # of a gateway that was killed
                    with self._lock:
                        self.outcomes.failed["no_answer"] += FORM
                    continue
                with self._lock:
                    self._count(response, [scores for _, scores in chosen])

    def _count(self, response: httpx.Response, expected: list[list[float]]) -> None:
        document = response.json()
        for index, scores in enumerate(expected):
            result = document["results"][index] if "results" in document else {"error": document}
            if "error" in result:
                self.outcomes.failed[result["error"]["code"]] += 1
                continue
            answered = [row["score"] for row in result["predictions"]]
            if answered == scores:
                self.outcomes.correct += 1
            else:
                self.outcomes.wrong.append(f"{answered} is not {scores}")


class Faults:
    """Kills and stops the processes of a service in turn."""

    def __init__(self, service: Running, seed: int = 0) -> None:
        self._service = service
        self._chance = random.Random(seed)
        self.made: Counter[str] = Counter()

    def kill_a_decoder(self) -> None:
        self._send(self._decoders(), signal.SIGKILL, "decoder killed")

    def stop_a_decoder(self) -> None:
        """Stop a decode process in the middle of its job; it is killed when its image's deadline has passed."""
        self._pause(self._decoders(), "decoder stopped")

    def stop_a_worker(self) -> None:
        """Stop a worker for longer than its images' deadlines. It goes on when their blocks hold other images."""
        self._pause(self._service.members(WORKER), "worker stopped")

    def kill_a_worker(self) -> None:
        self._send(self._service.members(WORKER), signal.SIGKILL, "worker killed")

    def kill_a_gateway(self) -> None:
        self._send(self._gateways(), signal.SIGKILL, "gateway killed")

    def _gateways(self) -> list[psutil.Process]:
        return [each for each in self._service.members("service gateway") if each.ppid() == self._service.process.pid]

    def _decoders(self) -> list[psutil.Process]:
        """Return the children of the gateways' fork servers."""
        found: list[psutil.Process] = []
        for gateway in self._gateways():
            with suppress(psutil.Error):
                found += [each for server in gateway.children() for each in server.children()]
        return found

    def _send(self, processes: list[psutil.Process], number: signal.Signals, what: str) -> psutil.Process | None:
        if not processes:
            return None
        chosen = self._chance.choice(processes)
        with suppress(psutil.Error):
            chosen.send_signal(number)
            self.made[what] += 1
        return chosen

    def _pause(self, processes: list[psutil.Process], what: str) -> None:
        stopped = self._send(processes, signal.SIGSTOP, what)
        time.sleep(PAUSE_S)
        if stopped is not None:
            with suppress(psutil.Error):
                stopped.send_signal(signal.SIGCONT)


def files_in(folder: Path) -> list[str]:
    """Return the arenas in the folder."""
    return [path.name for path in folder.glob(f"{PREFIX}*")]


def wait_for(outcomes: Outcomes, images: int, timeout_s: float) -> None:
    """Wait for so many more outcomes."""
    goal, end = outcomes.total + images, time.monotonic() + timeout_s
    while outcomes.total < goal and not outcomes.wrong:
        assert time.monotonic() < end, f"{outcomes} not within {timeout_s} s"
        time.sleep(0.05)


def metric(service: Running, name: str, **labels: str) -> float:
    """Return a metric, NaN while no gateway listens: one that is killed often is restarted after a pause."""
    wanted = name + ("{" + ",".join(f'{key}="{value}"' for key, value in labels.items()) + "}" if labels else "")
    try:
        lines = service.client.get("/metrics").text.splitlines()
    except httpx.TransportError:
        return math.nan
    return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{wanted} ")), 0.0)


def run_faults(faults: list[Callable[[], None]], outcomes: Outcomes, images: int, timeout_s: float) -> None:
    """Make the faults in turn, with some answers between two of them, until so many were correct."""
    end = time.monotonic() + timeout_s
    while outcomes.correct < images and not outcomes.wrong:
        for fault in faults:
            fault()
            wait_for(outcomes, 40, timeout_s)
        assert time.monotonic() < end, f"{outcomes} not within {timeout_s} s"
