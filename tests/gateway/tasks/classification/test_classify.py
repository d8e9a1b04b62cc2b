"""`POST /v1/classify`."""

import io
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from service.imaging import decoder
from service.models.cards import ModelCard
from service.tasks.base import DecodedFacts, Drawn, ModelOutput
from service.tasks.classification.classify import plan
from service.tasks.classification.schema import ClassifyQuery, ClassifyResponse
from service.tasks.shapes import Problem
from tests.gateway.fixtures.fake_outputs import offline_scores
from tests.gateway.fixtures.fake_torchserve import POISON, FakeTorchServe
from tests.gateway.fixtures.images import CORRUPT, image_bytes, json_body, rotated_jpeg

pytestmark = pytest.mark.anyio

FACTS = DecodedFacts(64, 48, "PNG", "RGB", ())


def predictions(card: ModelCard, scores: npt.NDArray[np.float32]) -> list[dict[str, Any]]:
    """Return the predictions of an image with these scores."""
    output = ModelOutput({"scores": scores}, 1, 0.0)
    found: list[dict[str, Any]] = plan([card], ClassifyQuery()).members(card, FACTS, output, Drawn())["predictions"]
    return found


PNG = {"Content-Type": "image/png"}


async def test_one_picture_gets_its_classes_best_first(client: httpx.AsyncClient, served: dict[str, ModelCard]) -> None:
    response = await client.post("/v1/classify", content=image_bytes(3), headers=PNG)

    body = response.json()
    ClassifyResponse.model_validate(body)
    card = served["tiny-classifier"]
    scores = offline_scores(card, image_bytes(3))
    best = sorted(range(7), key=lambda class_id: (-scores[class_id], class_id))[:5]
    assert response.status_code == 200
    assert body["model"] == {"name": "tiny-classifier", "version": "1.0", "task": "classification"}
    assert body["results"] == [
        {
            "index": 0,
            "filename": None,
            "image": {"width": 96, "height": 72, "format": "PNG", "mode": "RGB"},
            "predictions": [
                {"label": card.classes[class_id].label, "class_id": class_id, "score": scores[class_id]}
                for class_id in best
            ],
            "warnings": [],
        }
    ]


async def test_the_times_are_told_in_body_and_header(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/classify", content=image_bytes(), headers=PNG)

    timing = response.json()["timing_ms"]
    assert timing["inference"] == 2.5
    assert timing["total"] >= timing["decode"] + timing["queue"] + timing["inference"]
    header = dict(row.split(";dur=") for row in response.headers["server-timing"].split(", "))
    assert list(header) == ["upload", "decode", "queue", "inference", "total"]
    assert float(header["inference"]) == 2.5


@pytest.mark.parametrize("order", [[2, 0, 1], [0, 1, 2]])
def test_scores_are_sorted_as_told_and_equal_ones_by_class_id(order: list[int], served: dict[str, ModelCard]) -> None:
    # They differ in the seventh digit, and are equal after rounding.
    scores = np.array([0.3333331, 0.3333333, 0.3333332], np.float32)[order]

    rows = predictions(served["tiny-classifier-b"], scores)

    assert [row["class_id"] for row in rows] == [0, 1, 2]
    assert {row["score"] for row in rows} == {0.333333}


def test_a_score_a_hair_above_one_is_told_as_one(served: dict[str, ModelCard]) -> None:
    rows = predictions(served["tiny-classifier-b"], np.array([1.00001, -0.00001, 0], np.float32))

    assert [row["score"] for row in rows] == [1.0, 0.0, 0.0]


@pytest.mark.parametrize("top_k", [1, 5, 7])
async def test_top_k_classes_are_told(top_k: int, client: httpx.AsyncClient) -> None:
    response = await client.post(f"/v1/classify?top_k={top_k}", content=image_bytes(), headers=PNG)

    assert len(response.json()["results"][0]["predictions"]) == top_k


async def test_a_model_of_three_classes_tells_three_where_no_number_is_asked(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/classify?model=tiny-classifier-b", content=image_bytes(), headers=PNG)

    assert len(response.json()["results"][0]["predictions"]) == 3


async def test_more_classes_than_the_model_has_are_refused_with_their_number(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/classify?top_k=8", content=image_bytes(), headers=PNG)

    body = response.json()
    assert (response.status_code, body["code"], body["limit"], body["actual"]) == (422, "invalid_parameter", 7, 8)
    assert [row["parameter"] for row in body["errors"]] == ["top_k"]


async def test_min_score_leaves_out_lower_scores_and_keeps_equal_ones(client: httpx.AsyncClient) -> None:
    everything = (await client.post("/v1/classify?top_k=7", content=image_bytes(), headers=PNG)).json()
    scores = [row["score"] for row in everything["results"][0]["predictions"]]

    response = await client.post(f"/v1/classify?top_k=7&min_score={scores[2]}", content=image_bytes(), headers=PNG)

    assert [row["score"] for row in response.json()["results"][0]["predictions"]] == scores[:3]


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("top_k=0", "top_k"),
        ("top_k=x", "top_k"),
        (f"top_k={10**23}", "top_k"),
        ("min_score=1.1", "min_score"),
        ("min_score=-0.1", "min_score"),
        ("min_score=nan", "min_score"),
        ("topk=3", "topk"),
        ("mask=png", "mask"),
        ("%00%3Cscript%3E=1", "query"),
    ],
)
async def test_a_parameter_that_is_wrong_or_unknown_is_named(
    query: str, parameter: str, client: httpx.AsyncClient, fake: FakeTorchServe
) -> None:
    response = await client.post(f"/v1/classify?{query}", content=image_bytes(), headers=PNG)

    body = response.json()
    Problem.model_validate(body)
    assert (response.status_code, body["code"]) == (422, "invalid_parameter")
    assert [row["parameter"] for row in body["errors"]] == [parameter]
    assert fake.images_for("tiny-classifier") == 0


@pytest.mark.parametrize("name", ["unknown", "tiny-segmenter", "", "../etc"])
async def test_a_model_that_does_not_serve_the_task_is_not_found(name: str, client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/classify", params={"model": name}, content=image_bytes(), headers=PNG)

    body = response.json()
    assert (response.status_code, body["code"]) == (404, "model_not_found")
    assert body["available"] == ["tiny-classifier", "tiny-classifier-b"]


async def test_the_same_picture_gets_the_same_answer_in_every_shape(client: httpx.AsyncClient) -> None:
    content = image_bytes(5, kind="JPEG")
    answers = [
        await client.post("/v1/classify", content=content, headers={"Content-Type": "image/jpeg"}),
        await client.post("/v1/classify", content=content, headers={"Content-Type": "application/octet-stream"}),
        await client.post("/v1/classify", content=content),
        await client.post("/v1/classify", files={"file": ("a.jpg", content, "image/jpeg")}),
        await client.post("/v1/classify", files={"image": ("a.jpg", content)}),
        await client.post("/v1/classify", json=json_body(content)),
        await client.post("/v1/classify", json=json_body(content, prefix="data:image/jpeg;base64,")),
    ]

    results = [{**answer.json()["results"][0], "filename": None} for answer in answers]
    assert [answer.status_code for answer in answers] == [200] * 7
    assert all(result == results[0] for result in results)


async def test_a_forms_file_names_are_told_without_their_folders(client: httpx.AsyncClient) -> None:
    files = [("file", ("C:\\photos\\cat.png", image_bytes(0))), ("file", ("../../dög.png", image_bytes(1)))]

    response = await client.post("/v1/classify", files=files)

    assert [row["filename"] for row in response.json()["results"]] == ["cat.png", "dög.png"]


async def test_many_pictures_are_answered_in_their_order(
    client: httpx.AsyncClient, served: dict[str, ModelCard]
) -> None:
    contents = [image_bytes(seed) for seed in range(12)]

    response = await client.post("/v1/classify?top_k=7", json=json_body(*contents))

    results = response.json()["results"]
    assert [row["index"] for row in results] == list(range(12))
    for row, content in zip(results, contents, strict=True):
        scores = offline_scores(served["tiny-classifier"], content)
        assert {each["class_id"]: each["score"] for each in row["predictions"]} == dict(enumerate(scores))


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (CORRUPT, "image_corrupt"),
        (b"no image", "unsupported_media_type"),
        (b"", "empty_body"),
        (image_bytes(size=(4, 100)), "image_too_small"),
        (image_bytes(size=(9, 2000)), "image_too_small"),
    ],
)
async def test_a_bad_picture_among_eight_fails_alone(bad: bytes, code: str, client: httpx.AsyncClient) -> None:
    contents = [image_bytes(seed) for seed in range(8)]
    good = (await client.post("/v1/classify", json=json_body(*contents))).json()["results"]
    contents[3] = bad

    response = await client.post("/v1/classify", json=json_body(*contents))

    body = response.json()
    ClassifyResponse.model_validate(body)
    assert response.status_code == 200
    assert set(body["results"][3]) == {"index", "filename", "error"}
    assert body["results"][3]["error"]["code"] == code
    assert [row for row in body["results"] if row["index"] != 3] == [row for row in good if row["index"] != 3]


async def test_a_picture_that_the_model_fails_on_fails_alone(client: httpx.AsyncClient, fake: FakeTorchServe) -> None:
    fake.behaviour = "dies_of_poison"
    poison = io.BytesIO()
    Image.new("RGB", (64, 64), (POISON, POISON, POISON)).save(poison, "PNG")

    response = await client.post("/v1/classify", json=json_body(image_bytes(1), poison.getvalue(), image_bytes(2)))

    codes = [row.get("error", {}).get("code") for row in response.json()["results"]]
    assert response.status_code == 200
    assert codes == [None, "backend_unavailable", None]


async def test_several_bad_pictures_are_still_an_answer(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/classify", json=json_body(CORRUPT, b"no image"))

    assert response.status_code == 200
    assert [row["error"]["code"] for row in response.json()["results"]] == ["image_corrupt", "unsupported_media_type"]


async def test_a_lone_bad_picture_is_the_responses_own_status(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/classify", json=json_body(CORRUPT))

    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["code"] == "image_corrupt"


async def test_a_picture_held_sideways_is_told_upright(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/classify", content=rotated_jpeg((96, 72)))

    assert response.json()["results"][0]["image"] == {"width": 72, "height": 96, "format": "JPEG", "mode": "RGB"}


@pytest.mark.parametrize(
    ("declared", "warnings"),
    [
        ("image/png", []),
        ("image/jpeg", ["content_type_mismatch"]),
        ("image/svg+xml", ["content_type_mismatch"]),
        ("application/octet-stream", []),
        ("IMAGE/PNG; charset=binary", []),
    ],
)
async def test_the_bytes_decide_the_format_and_a_wrong_declaration_is_a_warning(
    declared: str, warnings: list[str], client: httpx.AsyncClient
) -> None:
    response = await client.post("/v1/classify", content=image_bytes(), headers={"Content-Type": declared})

    (result,) = response.json()["results"]
    assert (response.status_code, result["image"]["format"], result["warnings"]) == (200, "PNG", warnings)


async def test_what_decoding_gave_up_is_a_warning(client: httpx.AsyncClient) -> None:
    out = io.BytesIO()
    frames = [Image.new("L", (32, 32), level) for level in (0, 200)]
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:])

    response = await client.post("/v1/classify", content=out.getvalue())

    assert response.json()["results"][0]["warnings"] == [decoder.FIRST_FRAME_ONLY]


@pytest.mark.parametrize("accept", ["image/png", "text/html", "application/json;q=0"])
async def test_nothing_but_json_can_be_asked_for(accept: str, client: httpx.AsyncClient, fake: FakeTorchServe) -> None:
    response = await client.post("/v1/classify", content=image_bytes(), headers={"Accept": accept})

    body = response.json()
    assert (response.status_code, body["code"]) == (406, "not_acceptable")
    assert body["accepted"] == ["application/json"]
    assert fake.images_for("tiny-classifier") == 0
