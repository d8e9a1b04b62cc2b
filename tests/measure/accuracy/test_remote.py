"""Models behind a real gateway with a fake model server."""
# ruff: noqa: F401, F811 - the fixtures are those of the gateway's tests

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import web
from PIL import Image

from service.config import api_keys
from service.errors import UnsupportedMediaType
from service.measure.accuracy import remote, subjects
from service.measure.accuracy.remote import Service
from service.measure.accuracy.subjects import Subject
from service.models.cards import CardError, ModelCard
from service.models.identity import identity
from service.tasks.classification.scoring import best_classes
from service.tasks.segmentation.scoring import mask_of
from tests.cli.predict.scripted_service import scripted
from tests.gateway.conftest import (
    Running,
    anyio_backend,
    fake,
    listening,
    served,
    settings,
    short_folder,
    store,
)
from tests.gateway.fixtures.fake_outputs import expected_mask, offline_scores
from tests.gateway.fixtures.fake_torchserve import FakeTorchServe
from tests.gateway.fixtures.images import image_bytes
from tests.stores import write_store

pytestmark = pytest.mark.anyio


@pytest.fixture
async def url(listening: Running) -> AsyncIterator[str]:
    async with listening() as client:
        yield str(client.base_url)


async def asked(what: Callable[..., Any], *arguments: Any) -> Any:
    """Run a function in a thread, outside the event loop of the gateway."""
    return await asyncio.to_thread(what, *arguments)


async def subject(url: str, name: str) -> Subject:
    found: Subject = await asked(remote.served, Service(url), name)
    return found


async def test_a_served_model_is_the_one_of_its_card(url: str, served: dict[str, ModelCard]) -> None:
    for name, card in served.items():
        found, here = await subject(url, name), subjects.of_card(card)
        assert (found.name, found.version, found.task, found.labels) == (name, "1.0", card.task, here.labels)
        assert found.class_ids == here.class_ids


async def test_a_classifiers_best_answers_come_back(url: str, served: dict[str, ModelCard]) -> None:
    uploads = [image_bytes(seed) for seed in range(10)]
    run = (await subject(url, "tiny-classifier")).open()
    answers = await asked(run, *uploads)
    for upload, answer in zip(uploads, answers, strict=True):
        scores = np.array(offline_scores(served["tiny-classifier"], upload), np.float32)
        order = np.argsort(-scores, kind="stable")[:5]
        assert best_classes(answer, 5)[0] == order.tolist()
        np.testing.assert_allclose(answer.arrays["scores"][order], scores[order], atol=1e-6)


async def test_a_segmenters_mask_comes_back_at_the_pictures_size(url: str) -> None:
    out = io.BytesIO()
    Image.new("RGB", (90, 60), (255, 0, 0)).save(out, "PNG")
    run = (await subject(url, "tiny-segmenter")).open()
    (answer,) = await asked(run, out.getvalue())
    assert (answer.width, answer.height, mask_of(answer).shape) == (90, 60, (60, 90))
    assert (mask_of(answer) == 2).all()


async def test_a_segmenters_best_mask_comes_back(url: str, served: dict[str, ModelCard]) -> None:
    upload = image_bytes(5, size=(300, 200))
    found = await asked(remote.served, Service(url), "tiny-segmenter", "best")
    (answer,) = await asked(found.open(), upload)
    pixels = np.asarray(Image.open(io.BytesIO(upload)))
    np.testing.assert_array_equal(mask_of(answer), expected_mask(served["tiny-segmenter"], pixels))
    assert found.identity != (await subject(url, "tiny-segmenter")).identity


async def test_other_weights_behind_one_address_are_another_model(
    listening: Running, served: dict[str, ModelCard], tmp_path: Path
) -> None:
    """Compare the identities without the URLs, whose ports differ."""
    name = "tiny-classifier"
    told = []
    for digit in "01":
        folder = write_store(tmp_path / digit, name, weights=False) / name
        card = folder.joinpath("card.toml").read_text(encoding="utf-8")
        folder.joinpath("card.toml").write_text(card.replace("0" * 64, digit * 64), encoding="utf-8")
        async with listening(model_store=tmp_path / digit) as client:
            url = str(client.base_url)
            told.append((await subject(url, name)).identity.removeprefix(url).strip())
    assert told[0] == identity(served[name]) != told[1]


async def test_a_service_that_asks_for_a_key_is_told_it(listening: Running) -> None:
    secret = api_keys.new_secret()
    key = api_keys.Key("tests", frozenset({"classify"}), api_keys.digest(secret))
    async with listening(keys=key.line()) as client:
        with pytest.raises(CardError, match=r"401.* RESNEST_API_KEY or --api-key"):
            await subject(str(client.base_url), "tiny-classifier")
        told = Service(str(client.base_url), {"Authorization": f"Bearer {secret}"})
        run = (await asked(remote.served, told, "tiny-classifier")).open()
        (answer,) = await asked(run, image_bytes())
        assert answer.arrays["scores"].max() > 0


async def test_a_picture_that_is_refused_is_told_by_its_error(url: str) -> None:
    run = (await subject(url, "tiny-classifier")).open()
    with pytest.raises(UnsupportedMediaType):
        await asked(run, b"not an image")


async def test_a_service_that_is_full_is_asked_again(url: str, fake: FakeTorchServe) -> None:
    run = (await subject(url, "tiny-classifier")).open()
    fake.next.extend(["queue_full", "queue_full"])
    (answer,) = await asked(run, image_bytes())
    assert answer.arrays["scores"].max() > 0


async def test_what_the_service_does_wrong_ends_the_run(url: str, fake: FakeTorchServe) -> None:
    run = (await subject(url, "tiny-classifier")).open()
    fake.behaviour = "nonsense"
    with pytest.raises(CardError, match="answered 502"):
        await asked(run, image_bytes())


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_image_is_lost_in_a_redirection(scripted: tuple[str, Any], status: int) -> None:
    url, responses = scripted
    responses += [web.Response(status=status, headers={"Location": f"{url}/v1/models"})]
    with pytest.raises(CardError, match=f"redirects to {url}/v1/models; name the address"):
        await asked(Service(url).ask, "/v1/classify", image_bytes())


async def test_a_model_that_is_not_served_is_told(url: str) -> None:
    with pytest.raises(CardError, match=r"404.*\. Available: tiny-classifier, "):
        await subject(url, "nobody")


@pytest.mark.parametrize("url", ["file:///etc/passwd", "127.0.0.1:1", "ftp://127.0.0.1"])
async def test_what_is_no_services_address_is_refused(url: str) -> None:
    with pytest.raises(CardError, match="is not the URL of a service"):
        remote.served(Service(url), "any")


async def test_nobody_there_is_told() -> None:
    with pytest.raises(CardError, match="cannot be reached"):
        remote.served(Service("http://127.0.0.1:1"), "any")
