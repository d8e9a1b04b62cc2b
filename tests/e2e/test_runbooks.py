"""The commands of the first page for incidents, as an operator types them, against failures that are provoked."""

import json
import re
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.host.processes import free_port
from tests.e2e.fleet import WORKER
from tests.e2e.running import NO_HTTPS, PROCESS_PAUSE_S, Running, leader_of, running, until
from tests.e2e.test_answers import upload
from tests.stores import write_store

MODEL = "tiny-classifier"
PAGE = Path(__file__).parents[2] / "docs/operations/incident.md"
CALLERS = 12

pytestmark = pytest.mark.e2e


def blocks(heading: str) -> list[str]:
    """Return the shell commands of a section of the page."""
    text = PAGE.read_text(encoding="utf-8").partition(f"## {heading}\n")[2]
    return re.findall(r"```sh\n(.*?)```", text.partition("\n## ")[0], re.DOTALL)


class Shell:
    """An operator's shell in the folder with the service's log, with the commands for `make run` defined."""

    def __init__(self, service: Running) -> None:
        (self._definitions,) = [block for block in blocks("Commands") if "service.log" in block]
        address = str(service.client.base_url).rstrip("/")
        self._definitions = self._definitions.replace("http://127.0.0.1:8000", address).replace(
            "service.log", str(service.log)
        )

    def run(self, command: str) -> str:
        """Return what a command prints; fail if it fails."""
        script = f"set -o pipefail\n{self._definitions}\n{command}"
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60, check=False)
        assert not done.stderr, done.stderr
        return done.stdout

    def objects(self, command: str) -> list[dict[str, Any]]:
        """Return the JSON objects that a command prints, one in each line."""
        return [json.loads(line) for line in self.run(command).splitlines()]


def overload(service: Running) -> None:
    """Send more images at once than the service takes."""
    data, address = upload(0), str(service.client.base_url).rstrip("/")

    def call() -> None:
        httpx.post(
            f"{address}/v1/classify", content=data, headers={"Content-Type": "image/jpeg"}, timeout=60, verify=NO_HTTPS
        )

    for _ in range(3):
        threads = [threading.Thread(target=call) for _ in range(CALLERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def ask_a_worker_that_hangs(service: Running) -> httpx.Response:
    """Return the answer to an image whose worker process is suspended."""
    worker = leader_of(service.members(WORKER))
    worker.suspend()
    try:
        return service.client.post("/v1/classify", content=upload(0), headers={"Content-Type": "image/jpeg"})
    finally:
        worker.resume()


def test_the_first_page_finds_who_loses_answers_since_when_and_which_process_died(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", MODEL)
    losing, _, images, readiness, changed = blocks("Is anyone losing answers?")
    with running(store, tmp_path / "run", free_port(), RESNEST_MAX_IN_FLIGHT="1", RESNEST_MAX_IMAGES="1") as service:
        service.await_ready()
        shell = Shell(service)
        assert shell.run(losing) == ""

        overload(service)
        until(lambda: bool(shell.run(losing)), 60, lambda: service.output, PROCESS_PAUSE_S)
        (found,) = shell.objects(losing)
        assert found["code"] == "overloaded"
        assert found["requests"] >= 1
        assert found["since"] <= found["last"]
        assert 'resnest_problems_total{code="overloaded"}' in shell.run("ask /metrics")

        killed = set(service.members(WORKER))
        leader_of(killed).send_signal(signal.SIGKILL)
        died = "logs_of worker" + changed.partition("logs_of worker")[2]
        until(lambda: bool(shell.run(died)), 60, lambda: service.output, PROCESS_PAUSE_S)
        deaths = shell.objects(died)  # the follower ends with its leader
        assert {each["model"] for each in deaths} == {MODEL}
        assert any("SIGKILL" in each["event"] for each in deaths)
        until(lambda: bool(set(service.members(WORKER)) - killed), 60, lambda: service.output)  # the state is older
        until(
            lambda: shell.objects(readiness)[0]["models"][MODEL]["state"] == "ready",
            60,
            lambda: shell.run(readiness),
            PROCESS_PAUSE_S,
        )
        (state,) = shell.objects(readiness)
        assert state["models"][MODEL]["workers_ready"] == state["models"][MODEL]["workers_configured"] == 1
        assert str(service.process.pid) in shell.run("state")

        late = ask_a_worker_that_hangs(service)
        failed = f'resnest_images_total{{model="{MODEL}",outcome="deadline_exceeded"}} '
        assert late.status_code == 504
        assert [line for line in shell.run(images).splitlines() if line.startswith(failed)]
