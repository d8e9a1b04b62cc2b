"""While processes of a model are ended, each answer is the right one or says that the model is not available."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from service.host.processes import free_port
from tests.e2e.running import NO_HTTPS, START_S, Running, leader_of, running, until
from tests.e2e.test_answers import post, scores, upload
from tests.stores import write_store

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

WORKER, JAVA = "model_service_worker", "org.pytorch.serve.ModelServer"
CALLERS, IMAGES = 6, 12
PAUSE_S = 0.1  # of a caller after a refusal: refusals at full speed take the cores from the process that starts
CODES = {"backend_unavailable", "deadline_exceeded", "overloaded"}


class Callers:
    """Callers that compare each answer with the one at rest, and count."""

    def __init__(self, service: Running) -> None:
        self.right = 0
        self.wrong: list[str] = []
        self._url = str(service.client.base_url)
        self._uploads = [upload(seed) for seed in range(IMAGES)]
        self._expected = [scores(post(service, "/v1/classify", each).json()["results"][0]) for each in self._uploads]
        self._stop = threading.Event()

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Send requests during the block."""
        threads = [threading.Thread(target=self._call, args=(number,)) for number in range(CALLERS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def await_more(self, count: int = 30) -> None:
        """Wait for further right answers."""
        before = self.right
        until(lambda: self.right >= before + count or bool(self.wrong), START_S, lambda: self.wrong)

    def _call(self, number: int) -> None:
        with httpx.Client(base_url=self._url, timeout=60, verify=NO_HTTPS) as client:
            while not self._stop.is_set():
                number = (number + 1) % IMAGES
                answer = client.post(
                    "/v1/classify", content=self._uploads[number], headers={"Content-Type": "image/jpeg"}
                )
                if answer.status_code == 200:
                    if scores(answer.json()["results"][0]) == pytest.approx(self._expected[number], abs=1e-4):
                        self.right += 1
                    else:
                        self.wrong.append(f"another image's scores for {number}")
                elif answer.status_code not in {503, 504} or answer.json()["code"] not in CODES:
                    self.wrong.append(answer.text)
                else:
                    self._stop.wait(PAUSE_S)


def leader(service: Running) -> psutil.Process:
    return leader_of(service.members(WORKER))


def follower(service: Running) -> psutil.Process:
    return min(service.members(WORKER), key=lambda worker: int(worker.memory_info().rss))


def java(service: Running) -> psutil.Process:
    return service.members(JAVA)[0]


@pytest.mark.parametrize(
    "faults",
    [
        [(leader, signal.SIGKILL), (follower, signal.SIGKILL)],
        pytest.param(
            [(leader, signal.SIGTERM), (follower, signal.SIGTERM), (java, signal.SIGKILL)], marks=pytest.mark.stress
        ),
    ],
)
def test_no_answer_is_wrong_while_leaders_and_followers_and_torchserve_are_ended(
    faults: list[tuple[Callable[[Running], psutil.Process], signal.Signals]], tmp_path: Path
) -> None:
    store = write_store(tmp_path / "store", "tiny-classifier")
    with running(store, tmp_path / "run", free_port()) as service:
        service.await_ready()
        callers = Callers(service)
        with callers.calling():
            for find, number in faults:
                callers.await_more()
                victim = find(service)
                victim.send_signal(number)
                until(lambda: not victim.is_running() or victim.status() == psutil.STATUS_ZOMBIE, START_S)  # noqa: B023
                until(lambda: len(service.members(WORKER)) == 2, START_S, lambda: service.output)
                callers.await_more()
        assert callers.wrong == []
        until(lambda: service.client.get("/readyz").status_code == 200, START_S, lambda: service.output)
        assert service.end() == 0
        until(lambda: not service.left(), 5, service.left)
