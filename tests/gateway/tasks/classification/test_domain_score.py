"""What `/v1/classify` and `/v2` say with a model whose sign of an unknown image is the domain score."""

import base64
from pathlib import Path

import httpx
import pytest

from tests.gateway.tasks.classification.test_unknown import image
from tests.stores import add_domain, write_store

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store with a domain score. The fake's score is below 0 for an image with little red."""
    folder = write_store(tmp_path_factory.mktemp("store"), "tiny-classifier", weights=False)
    add_domain(folder / "tiny-classifier")
    return folder


async def test_an_image_below_the_least_score_is_unknown(client: httpx.AsyncClient) -> None:
    form = [("file", ("a.png", image(red), "image/png")) for red in (5, 250)]
    body = (await client.post("/v1/classify", files=form)).json()

    assert [result["unknown"] for result in body["results"]] == [True, False]
    assert [result["warnings"] for result in body["results"]] == [["out_of_domain"], []]


async def test_an_explanation_says_it_too(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/explain?overlay=false", content=image(5), headers={"Content-Type": "image/png"})

    assert response.json()["results"][0]["unknown"] is True


async def test_the_description_of_the_model_has_the_least_score(client: httpx.AsyncClient) -> None:
    described = (await client.get("/v1/models/tiny-classifier")).json()

    assert described["calibration"] == {"temperature": 1.0, "min_domain_score": 0.0}


async def test_the_score_is_an_output_of_v2_where_it_is_named(client: httpx.AsyncClient) -> None:
    data = [base64.b64encode(image(255)).decode()]
    content = {
        "inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": data}],
        "outputs": [{"name": "domain_score"}],
    }
    body = (await client.post("/v2/models/tiny-classifier/infer", json=content)).json()

    assert body["outputs"] == [{"name": "domain_score", "datatype": "FP32", "shape": [1, 1], "data": [0.5]}]
