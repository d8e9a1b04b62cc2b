"""A model that the model servers have left out: its callers get a code of its own, and the other models are served."""

import httpx
import pytest

from tests.gateway.conftest import app_of, settled
from tests.gateway.fixtures.fake_torchserve import FakeTorchServe
from tests.gateway.fixtures.images import image_bytes
from tests.gateway.routes.open_inference.test_v2_tensors import one

pytestmark = pytest.mark.anyio

MODEL = "tiny-segmenter"


async def test_its_callers_get_the_reason_under_a_code_of_its_own_and_the_others_answers(
    client: httpx.AsyncClient, fake: FakeTorchServe
) -> None:
    del fake.workers[MODEL]
    await settled(app_of(client))

    refused = await client.post(f"/v1/segment?model={MODEL}", content=image_bytes())
    by_protocol = await client.post(f"/v2/models/{MODEL}/infer", json=one())
    served = await client.post("/v1/classify", content=image_bytes())

    for answer in (refused, by_protocol):
        assert (answer.status_code, answer.json()["code"]) == (503, "model_refused")
        assert answer.json()["detail"] == f"The model server has left {MODEL} out: it failed its check at the start."
    assert served.status_code == 200


async def test_the_instance_is_ready_for_the_others_and_the_model_is_counted(
    client: httpx.AsyncClient, fake: FakeTorchServe
) -> None:
    del fake.workers[MODEL]
    await settled(app_of(client))

    ready, strict = await client.get("/readyz"), await client.get("/readyz?require=all")
    metrics = (await client.get("/metrics")).text
    models = (await client.get("/v1/models")).json()["models"]

    assert (ready.status_code, strict.status_code) == (200, 503)
    assert ready.json()["models"][MODEL]["state"] == "refused"
    assert {each["name"]: each["state"] for each in models}[MODEL] == "refused"
    assert f'resnest_model_refused{{model="{MODEL}"}} 1.0' in metrics
    assert 'resnest_model_refused{model="tiny-classifier"} 0.0' in metrics


async def test_a_model_that_is_loaded_later_is_served(client: httpx.AsyncClient, fake: FakeTorchServe) -> None:
    workers = fake.workers.pop(MODEL)
    await settled(app_of(client))
    fake.workers[MODEL] = workers
    await settled(app_of(client))

    assert (await client.post(f"/v1/segment?model={MODEL}", content=image_bytes())).status_code == 200


async def test_a_model_without_workers_is_not_called_refused(client: httpx.AsyncClient, fake: FakeTorchServe) -> None:
    fake.workers[MODEL] = []
    await settled(app_of(client))

    assert (await client.get("/readyz")).json()["models"][MODEL]["state"] == "unavailable"
