"""What Prometheus learns of a model's batches, and of what runs the model."""

import httpx
import pytest

from service.gateway.metrics import Metrics
from service.models.cards import ModelCard
from service.tasks.frame import RUNTIMES, Runtime
from tests.gateway.conftest import app_of, components_of
from tests.gateway.fixtures.fake_outputs import RUNTIME
from tests.gateway.fixtures.fake_torchserve import FakeTorchServe
from tests.gateway.fixtures.images import image_bytes
from tests.gateway.metrics.test_definitions import samples, value

pytestmark = pytest.mark.anyio


async def test_an_image_whose_batch_did_not_fit_into_memory_is_counted(
    client: httpx.AsyncClient, fake: FakeTorchServe
) -> None:
    fake.next.extend(["halved", "answer"])
    for number in range(2):
        await client.post("/v1/segment", content=image_bytes(number))

    found = await samples(client)

    assert value(found, "resnest_images_in_halved_batches_total", model="tiny-segmenter") == 1
    assert value(found, "resnest_images_in_halved_batches_total", model="tiny-classifier") == 0
    assert value(found, "resnest_images_total", model="tiny-segmenter", outcome="ok") == 2


async def test_a_model_shows_what_runs_it_where_its_card_leaves_that_open(client: httpx.AsyncClient) -> None:
    cards = components_of(app_of(client)).registry.cards.values()

    found = await samples(client)

    shown = {
        (named["model"], named["engine"], named["device"]): amount
        for (name, labels), amount in found.items()
        if name == "resnest_model_info" and (named := dict(labels))
    }
    assert {card.serving.engine for card in cards} == {"auto"}
    assert shown == {(card.name, *each): each == RUNTIME for card in cards for each in RUNTIMES}
    for card in cards:
        assert value(found, "resnest_batch_size_limit", model=card.name) == card.serving.batch_size


def runtimes(metrics: Metrics) -> set[tuple[str, str]]:
    """Return the engines and devices that are shown as running a model."""
    (family,) = [each for each in metrics.registry.collect() if each.name == "resnest_model_info"]
    return {(each.labels["engine"], each.labels["device"]) for each in family.samples if each.value == 1}


def test_a_model_that_moves_to_another_device_is_shown_there_alone(served: dict[str, ModelCard]) -> None:
    metrics, card = Metrics(), served["tiny-classifier"]
    shown = []
    for runtime in (None, Runtime("openvino", "cpu"), Runtime("torch", "cuda"), None):
        metrics.report_runtime(card, runtime)
        shown.append(runtimes(metrics))

    assert shown == [set(), {("openvino", "cpu")}, {("torch", "cuda")}, {("torch", "cuda")}]
