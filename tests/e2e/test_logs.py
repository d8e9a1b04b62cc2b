"""The log of the real service: a request by its id, a worker's death and recovery, and a changed log file."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from service.host.processes import free_port
from tests.e2e.fleet import WORKER
from tests.e2e.running import Running, leader_of, running, until
from tests.e2e.test_answers import post, upload
from tests.stores import write_store

MODEL = "tiny-classifier"

pytestmark = pytest.mark.e2e


def lines(service: Running) -> list[dict[str, Any]]:
    """Return the log so far; the lines of `run` itself are not JSON."""
    return [json.loads(line) for line in service.output.splitlines() if line.startswith("{") and line.endswith("}")]


def logged(service: Running, **fields: Any) -> dict[str, Any]:
    """Return the first line with these fields, once it is there."""

    def found() -> list[dict[str, Any]]:
        return [line for line in lines(service) if fields.items() <= line.items()]

    until(lambda: bool(found()), 60, lambda: f"{fields} in {service.output}")
    return found()[0]


def test_the_log_finds_a_request_a_death_and_a_recovery_and_changes_without_a_restart(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", MODEL)
    file = tmp_path / "log.toml"
    file.write_text('access = "errors"\n', encoding="utf-8")
    with running(store, tmp_path / "run", free_port(), RESNEST_LOG_FILE=str(file)) as service:
        service.await_ready()
        service.client.post("/v1/classify", content=b"no image", headers={"X-Request-ID": "find-me"})
        request = logged(service, request_id="find-me")
        assert (request["component"], request["route"]) == ("gateway", "/v1/classify")
        assert request["status"] >= 400
        assert request["code"]

        worker = leader_of(service.members(WORKER))
        worker.send_signal(signal.SIGKILL)
        death = logged(service, exit_code=-9)
        assert death["event"] == "the worker process was ended by signal SIGKILL"
        assert (death["component"], death["model"], death["pid"]) == ("worker", MODEL, worker.pid)
        outage = logged(service, event=f"{MODEL} is unavailable")
        (end,) = [logged(service, model=MODEL, level=outage["level"], event=each) for each in [recovery(service)]]
        assert end["outage_s"] > 0

        file.write_text('access = "all"\n', encoding="utf-8")
        logged(service, event="the log settings were reloaded", component="gateway")
        assert post(service, "/v1/classify", upload(0)).status_code == 200
        answered = logged(service, status=200, route="/v1/classify")
        assert answered["model"] == MODEL
        assert answered["inference_ms"] > 0
        restarts = f'resnest_worker_restarts_total{{cause="process",model="{MODEL}"}} 1.0'
        until(lambda: restarts in service.client.get("/metrics").text, 30, lambda: restarts_of(service))
        assert service.end() == 0


def restarts_of(service: Running) -> list[str]:
    return [line for line in service.client.get("/metrics").text.splitlines() if "worker_restarts" in line]


def recovery(service: Running) -> str:
    """Return the text of the line that ends the outage, once it is there."""

    def found() -> list[str]:
        return [line["event"] for line in lines(service) if line["event"].startswith(f"{MODEL} is ready again after")]

    until(lambda: bool(found()), 60, lambda: service.output)
    return found()[0]
