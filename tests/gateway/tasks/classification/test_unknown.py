"""What `/v1/classify` and `/v1/explain` say of an image of none of the model's classes."""

import base64
import io
from pathlib import Path

import httpx
import pytest
from PIL import Image

from service.models.cards import ModelCard
from service.models.identity import identity
from service.tasks.classification.schema import ClassifyResponse, CompareResponse, ExplainResponse
from tests.stores import write_store

pytestmark = pytest.mark.anyio

PNG = {"Content-Type": "image/png"}
CALIBRATION = f'\n[calibration]\ntemperature = 1.5\nmin_logit = 0.5\nmade_of = "{"0" * 64}"\n'


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store in which one classifier is calibrated.

    The fake's largest logit is below the limit for an image without red.
    """
    folder = write_store(tmp_path_factory.mktemp("store"), weights=False)
    with (folder / "tiny-classifier" / "card.toml").open("a") as card:
        card.write(CALIBRATION)
    return folder


def image(red: int) -> bytes:
    """Return a PNG of one colour."""
    content = io.BytesIO()
    Image.new("RGB", (96, 72), (red, 40, 40)).save(content, "PNG")
    return content.getvalue()


async def test_an_unknown_image_has_its_classes_and_a_warning(client: httpx.AsyncClient) -> None:
    body = (await client.post("/v1/classify", content=image(5), headers=PNG)).json()

    ClassifyResponse.model_validate(body)
    (result,) = body["results"]
    assert (result["unknown"], result["warnings"], len(result["predictions"])) == (True, ["out_of_domain"], 5)


async def test_a_known_image_says_so(client: httpx.AsyncClient) -> None:
    (result,) = (await client.post("/v1/classify", content=image(250), headers=PNG)).json()["results"]

    assert (result["unknown"], result["warnings"]) == (False, [])


async def test_the_classes_of_an_unknown_image_can_be_hidden(client: httpx.AsyncClient) -> None:
    form = [("file", ("a.png", image(red), "image/png")) for red in (5, 250)]
    body = (await client.post("/v1/classify?unknown=hide", files=form)).json()

    ClassifyResponse.model_validate(body)
    assert [len(result["predictions"]) for result in body["results"]] == [0, 5]
    assert [result["unknown"] for result in body["results"]] == [True, False]


async def test_a_warning_of_the_model_follows_those_about_the_upload(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/classify", content=image(5), headers={"Content-Type": "image/jpeg"})

    assert response.json()["results"][0]["warnings"] == ["content_type_mismatch", "out_of_domain"]


async def test_in_a_comparison_each_model_says_what_it_knows(client: httpx.AsyncClient) -> None:
    query = "model=tiny-classifier&model=tiny-classifier-b"
    body = (await client.post(f"/v1/classify?{query}", content=image(5), headers=PNG)).json()

    CompareResponse.model_validate(body)
    (result,) = body["results"]
    assert [block.get("unknown") for block in result["models"]] == [True, None]
    assert result["warnings"] == ["out_of_domain"]


async def test_a_model_without_calibration_says_nothing(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/classify?model=tiny-classifier-b", content=image(5), headers=PNG)

    assert "unknown" not in response.json()["results"][0]


async def test_a_model_without_calibration_cannot_hide(client: httpx.AsyncClient) -> None:
    query = "model=tiny-classifier&model=tiny-classifier-b&unknown=hide"
    response = await client.post(f"/v1/classify?{query}", content=image(5), headers=PNG)

    body = response.json()
    assert (response.status_code, body["code"]) == (422, "invalid_parameter")
    assert body["errors"][0]["parameter"] == "unknown"
    assert "tiny-classifier-b has no calibration" in body["detail"]


async def test_an_explanation_says_it_too(client: httpx.AsyncClient) -> None:
    body = (await client.post("/v1/explain?overlay=false", content=image(5), headers=PNG)).json()

    ExplainResponse.model_validate(body)
    assert (body["results"][0]["unknown"], body["results"][0]["warnings"]) == (True, ["out_of_domain"])


async def test_the_description_of_a_model_has_its_calibration(client: httpx.AsyncClient) -> None:
    calibrated, other = [(await client.get(f"/v1/models/tiny-classifier{name}")).json() for name in ("", "-b")]

    assert calibrated["calibration"] == {"temperature": 1.5, "min_logit": 0.5}
    assert "calibration" not in other
    assert calibrated["knows"] == "7 classes: cat, dog, daisy, dandelion, rose, sunflower, tulip"


async def test_the_largest_logit_is_an_output_of_v2_where_it_is_named(client: httpx.AsyncClient, store: Path) -> None:
    content = {
        "inputs": [
            {"name": "image", "datatype": "BYTES", "shape": [1], "data": [base64.b64encode(image(255)).decode()]}
        ],
        "outputs": [{"name": "scores"}, {"name": "max_logit"}],
    }
    every = (await client.post("/v2/models/tiny-classifier/infer", json={"inputs": content["inputs"]})).json()
    named = (await client.post("/v2/models/tiny-classifier/infer", json=content)).json()

    assert [output["name"] for output in every["outputs"]] == ["scores"]
    assert named["outputs"][1] == {"name": "max_logit", "datatype": "FP32", "shape": [1, 1], "data": [1.0]}


def test_a_calibration_changes_the_identity(served: dict[str, ModelCard]) -> None:
    card = served["tiny-classifier"]

    assert identity(card) != identity(card.model_copy(update={"calibration": None}))
