"""`POST /v1/embed`."""

import base64

import httpx
import numpy as np
import pytest

from service.imaging import decoder, preprocess
from service.models.cards import ModelCard
from service.tasks.classification.schema import EmbedResponse
from tests.gateway.fixtures.fake_outputs import expected_arrays
from tests.gateway.fixtures.fake_torchserve import FakeTorchServe
from tests.gateway.fixtures.images import CORRUPT, image_bytes

pytestmark = pytest.mark.anyio


def offline(card: ModelCard, content: bytes) -> list[float]:
    decoded = decoder.decode(content, decoder.ImageLimits(), needed=preprocess.needed_side(card.input))
    pixels = preprocess.prepare(card.input, decoded.image)
    features: list[float] = expected_arrays(card, pixels, "embed")["embedding"].tolist()
    return features


async def test_each_picture_gets_its_own_vector(client: httpx.AsyncClient, served: dict[str, ModelCard]) -> None:
    contents = [image_bytes(seed) for seed in range(3)]

    response = await client.post("/v1/embed", files=[("file", content) for content in contents])

    EmbedResponse.model_validate(response.json())
    vectors = [result["embedding"]["data"] for result in response.json()["results"]]
    np.testing.assert_allclose(vectors, [offline(served["tiny-classifier"], each) for each in contents], rtol=1e-6)


async def test_base64_holds_the_same_numbers(client: httpx.AsyncClient) -> None:
    plain, packed = [
        (await client.post(f"/v1/embed?encoding={form}", content=image_bytes())).json()["results"][0]["embedding"]
        for form in ("float", "base64")
    ]

    unpacked = np.frombuffer(base64.b64decode(packed["data"], validate=True), "<f4")
    assert unpacked.tolist() == pytest.approx(plain["data"])
    assert plain["dimensions"] == packed["dimensions"] == len(unpacked)


async def test_a_normalised_vector_has_length_one_and_the_same_direction(client: httpx.AsyncClient) -> None:
    answers = [await client.post(f"/v1/embed?normalise={on}", content=image_bytes()) for on in ("false", "true")]
    plain, scaled = (np.array(each.json()["results"][0]["embedding"]["data"]) for each in answers)

    assert np.linalg.norm(scaled) == pytest.approx(1)
    np.testing.assert_allclose(scaled, plain / np.linalg.norm(plain), rtol=1e-5)


async def test_a_picture_that_fails_leaves_its_neighbours_their_vectors(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/embed", files=[("file", CORRUPT), ("file", image_bytes())])

    failed, answered = response.json()["results"]
    assert failed["error"]["code"] == "image_corrupt"
    assert answered["embedding"]["dimensions"] == 16


async def test_scores_in_place_of_a_vector_are_no_answer(client: httpx.AsyncClient, fake: FakeTorchServe) -> None:
    fake.next.append("not_a_number")

    response = await client.post("/v1/embed", content=image_bytes())

    assert (response.status_code, response.json()["code"]) == (502, "backend_bad_response")
