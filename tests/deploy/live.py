"""Run a real gateway and a real Prometheus that scrapes it, for tests of what an operator sees."""

import asyncio
import json
import re
import socket
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import uvicorn
import yaml
from fastapi import FastAPI

from service.errors import BackendUnavailable, Overloaded
from service.gateway.backend.torchserve import Workers
from service.models.cards import ModelCard
from service.tasks import PREDICT, frame
from service.tasks.base import ModelOutput, Pixels
from service.tasks.frame import Runtime
from service.tasks.shared_image import InputImage
from tests.deploy import reading
from tests.deploy.programs import program

WAIT_S = 90
JOB = "resnest-gateway"


def answers(card: ModelCard, image: Pixels) -> dict[str, frame.Array]:
    """Return outputs that fit the card, whatever the image."""
    classes = card.network.classes
    if card.task == "classification":
        return {"scores": np.full(classes, 1 / classes, np.float32)}
    return {"mask": np.zeros(image.shape[:2], np.uint8), "class_scores": np.zeros(classes, np.float32)}


class Model:
    """A model server in this process that rejects a black image as overloaded, and dies on a white one."""

    async def predict(
        self, card: ModelCard, image: InputImage, *, deadline: float, request_id: str, operation: str = PREDICT
    ) -> ModelOutput:
        await asyncio.sleep(0.002)
        assert isinstance(image, np.ndarray)
        if image.max() == 0:
            raise Overloaded("full")
        if image.min() == 255:
            raise BackendUnavailable("dead")
        return ModelOutput(answers(card, image), 2, 0.001, 0.001, runtime=Runtime("torch", "cuda"))

    def shares_memory(self, card: ModelCard) -> bool:
        return False

    async def workers(self, card: ModelCard) -> Workers:
        return Workers(frozenset({1}), card.serving.workers, {"closed": 1})

    async def forget(self, card: ModelCard) -> None:
        pass

    async def close(self) -> None:
        pass


def until(what: Callable[[], Any], reason: str, within_s: float = WAIT_S, every_s: float = 0.05) -> Any:
    """Return what the callable returns as soon as that is truthy; fail after `within_s`."""
    end = time.monotonic() + within_s
    while not (found := what()):
        assert time.monotonic() < end, f"{reason} within {within_s} s"
        time.sleep(every_s)
    return found


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """Serve the app, and yield its address."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            address = f"127.0.0.1:{listener.getsockname()[1]}"
            until(lambda: server.started or not thread.is_alive(), "the gateway starts")
            until(lambda: httpx.get(f"http://{address}/readyz").status_code == 200, "the gateway is ready")
            yield address
        finally:
            server.should_exit = True
            thread.join(WAIT_S)


class Prometheus:
    """A running Prometheus."""

    def __init__(self, address: str) -> None:
        self.address = address

    def ask(self, query: str) -> list[dict[str, Any]]:
        """Return the series that a query finds now; an invalid query fails the test."""
        body = urllib.parse.urlencode({"query": query}).encode()
        answer = json.loads(httpx.post(f"http://{self.address}/api/v1/query", content=body, headers=FORM).text)
        assert answer["status"] == "success", answer
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result


FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def configuration(targets: Mapping[str, str], interval: str) -> str:
    """Return the project's configuration with an address for each job in `targets`, and a shorter interval."""
    found = yaml.safe_load((reading.PROMETHEUS / "prometheus.yml").read_text(encoding="utf-8"))
    found["scrape_configs"] = [
        {"job_name": job, "static_configs": [{"targets": [target]}]} for job, target in targets.items()
    ]
    found["global"] |= {name: interval for name in found["global"] if name != "external_labels"}
    found.pop("alerting", None)
    found["rule_files"] = [str(reading.PROMETHEUS / "rules/*.yml")]
    return yaml.safe_dump(found)


@contextmanager
def scraped(target: str, folder: Path, **others: str) -> Iterator[Prometheus]:
    """Run Prometheus with the project's rules, scraping a gateway and the addresses of other jobs twice a second."""
    targets = {JOB: target, **{job.replace("_", "-"): each for job, each in others.items()}}
    (folder / "prometheus.yml").write_text(configuration(targets, "500ms"), encoding="utf-8")
    command = [program("prometheus"), "--config.file", str(folder / "prometheus.yml")]
    command += ["--storage.tsdb.path", str(folder / "data"), "--web.listen-address", "127.0.0.1:0"]
    command += ["--enable-feature=exemplar-storage"]
    log = folder / "prometheus.log"
    with log.open("wb") as file, subprocess.Popen(command, stdout=file, stderr=file) as process:
        try:
            said = until(
                lambda: re.search(r"Listening on.*address=(\S+)", log.read_text("utf-8")), "Prometheus listens"
            )
            until(lambda: httpx.get(f"http://{said[1]}/-/ready").status_code == 200, "Prometheus is ready")
            yield Prometheus(said[1])
        finally:
            process.terminate()
