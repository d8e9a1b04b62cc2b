"""A stable gateway and a canary, both real, a real Prometheus that scrapes them, and callers whom a route divides."""

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from deploy.kubernetes.canary_rollout import CANARY, STABLE
from service.config.settings import Settings
from service.errors import BackendUnavailable
from service.gateway.app import create_app
from service.models.cards import ModelCard
from service.tasks import PREDICT
from service.tasks.base import ModelOutput
from service.tasks.shared_image import InputImage
from tests.deploy.live import Model, Prometheus, scraped, served, until
from tests.deploy.test_queries import png
from tests.stores import write_store

PAUSE_S = 0.01
PATH = "/v1/classify?model=tiny-classifier"


class BreakableModel(Model):
    """A model server that fails on each image while `is_broken`."""

    is_broken = False

    async def predict(
        self, card: ModelCard, image: InputImage, *, deadline: float, request_id: str, operation: str = PREDICT
    ) -> ModelOutput:
        if self.is_broken:
            raise BackendUnavailable("dead")
        return await super().predict(card, image, deadline=deadline, request_id=request_id, operation=operation)


@dataclass
class Pair:
    """The addresses of both gateways, the model server of the canary, and Prometheus."""

    addresses: dict[str, str]
    canary: BreakableModel
    prometheus: Prometheus

    @contextmanager
    def loaded(self, weight: Callable[[], int]) -> Iterator[Counter[tuple[str, int]]]:
        """Send images as a route does that gives the canary `weight()` %; yield the answers by gateway and status."""
        answers: Counter[tuple[str, int]] = Counter()
        ending, chance, body = threading.Event(), random.Random(1), png("red")

        def call() -> None:
            with httpx.Client() as client:
                while not ending.wait(PAUSE_S):
                    name = CANARY if chance.random() * 100 < weight() else STABLE
                    answer = client.post(f"http://{self.addresses[name]}{PATH}", content=body)
                    answers[name, answer.status_code] += 1

        thread = threading.Thread(target=call)
        thread.start()
        try:
            yield answers
        finally:
            ending.set()
            thread.join()


@contextmanager
def pair(folder: Path) -> Iterator[Pair]:
    """Run both gateways and Prometheus."""
    store = write_store(folder / "store", "tiny-classifier", weights=False)
    (folder / "prometheus").mkdir()
    canary = BreakableModel()
    with (
        served(create_app(Settings(model_store=store), Model())) as stable_address,
        served(create_app(Settings(model_store=store), canary)) as canary_address,
        scraped(stable_address, folder / "prometheus", resnest_gateway_canary=canary_address) as prometheus,
    ):
        until(lambda: prometheus.ask('objective:resnest_events:rate5m{job="resnest-gateway-canary"}'), "it is scraped")
        yield Pair({STABLE: stable_address, CANARY: canary_address}, canary, prometheus)
