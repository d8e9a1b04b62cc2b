"""A model in this process answers as the served one does."""

from pathlib import Path
from typing import Any

import pytest

from service.cli.predict import local_model
from service.cli.predict.failures import RunFailedError
from service.cli.predict.local_model import LocalModel
from service.measure.pipeline import Pipeline
from service.models import cards
from service.tasks import endpoints
from service.tasks.base import Endpoint
from tests.gateway.fixtures.images import image_bytes, rotated_jpeg
from tests.stores import write_store

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def endpoint(name: str) -> Endpoint[Any]:
    return endpoints()[name]


async def test_the_scores_are_those_of_the_pipeline(store: Path) -> None:
    model = LocalModel.load(endpoint("classify"), {"top_k": "7"}, store)
    (expected,) = Pipeline.load(cards.read(store / "tiny-classifier"))(image_bytes())

    found = await model.answer(image_bytes())

    scores = {each["class_id"]: each["score"] for each in found["predictions"]}
    assert [scores[index] for index in range(7)] == pytest.approx(expected.arrays["scores"].tolist(), abs=1e-5)
    assert found["model"] == {"name": "tiny-classifier", "version": "1.0", "task": "classification"}
    assert found["image"] == {"width": 96, "height": 72, "format": "PNG", "mode": "RGB"}


@pytest.mark.parametrize("name", sorted(endpoints()))
async def test_every_endpoint_answers_with_the_members_of_its_response(name: str, store: Path) -> None:
    found = await LocalModel.load(endpoint(name), {}, store).answer(rotated_jpeg())

    described = (
        endpoint(name)
        .responses[0]
        .model_validate(
            {
                "request_id": "r",
                "model": found.pop("model"),
                "results": [{"index": 0, "filename": "a.jpg", **found}],
                "timing_ms": {"total": 0, "decode": 0, "queue": 0, "inference": 0},
            }
        )
    )
    assert "error" not in described.model_dump()["results"][0]


async def test_an_overlay_leaves_the_background_alone_in_every_language(tmp_path: Path) -> None:
    store = write_store(tmp_path, "tiny-segmenter")
    with (store / "tiny-segmenter" / "card.toml").open("a", encoding="utf-8") as card:
        card.write('\n[labels.names]\nde = ["Hintergrund", "Katze", "Hund"]\n')

    async def ask(lang: str) -> dict[str, Any]:
        query = {"overlay": "png", "mask": "none", "lang": lang}
        return await LocalModel.load(endpoint("segment"), query, store).answer(image_bytes(5))  # shows background

    english, german = await ask("en"), await ask("de")

    assert "Hintergrund" in {row["label"] for row in german["segments"]}
    assert english["overlay"]["data"] == german["overlay"]["data"]


async def test_an_image_that_cannot_be_decoded_has_its_problem(store: Path) -> None:
    model = LocalModel.load(endpoint("classify"), {}, store)

    assert (await model.answer(b"abc"))["error"]["code"] == "unsupported_media_type"
    assert (await model.answer(image_bytes()[:200]))["error"]["code"] == "image_corrupt"


def test_a_model_of_another_task_is_refused_with_the_models_that_are_there(store: Path) -> None:
    with pytest.raises(RunFailedError, match=r"can answer segment; the models are tiny-classifier \(classification\)"):
        local_model.choose(endpoint("segment"), store, "tiny-classifier", "predict", print)


def test_a_query_that_the_model_cannot_fulfil_ends_the_run_before_it_is_loaded(store: Path) -> None:
    with pytest.raises(RunFailedError, match="At most 7, the model's classes"):
        LocalModel.load(endpoint("classify"), {"top_k": "8"}, store)
