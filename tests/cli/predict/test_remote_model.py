"""A model behind a real gateway with a fake model server."""
# ruff: noqa: F401, F811 - the fixtures are those of the gateway's tests

from typing import Any

import pytest
from aiohttp import web

from service.cli.predict import remote_model
from service.cli.predict.failures import RunFailedError
from service.cli.predict.remote_model import RemoteModel, ServiceAccess
from service.config import api_keys
from service.host.processes import free_port
from service.tasks import endpoints
from tests.cli.predict.scripted_service import Heard, answered, model, problem, scripted
from tests.gateway.conftest import Running, anyio_backend, fake, listening, served, settings, short_folder, store
from tests.gateway.fixtures.images import image_bytes

pytestmark = pytest.mark.anyio


async def test_the_answer_is_the_result_of_the_response(listening: Running) -> None:
    async with listening() as client:
        body = (await client.post("/v1/classify?top_k=2", content=image_bytes())).json()
        async with model(str(client.base_url), query={"top_k": "2"}) as asked:
            found = await asked.answer(image_bytes())

    assert found["model"] == body["model"]
    assert found["predictions"] == body["results"][0]["predictions"]
    assert "index" not in found
    assert "filename" not in found


async def test_a_bad_image_is_an_answer_with_its_problem(listening: Running) -> None:
    async with listening() as client, model(str(client.base_url)) as asked:
        found = await asked.answer(b"no image")

    assert (found["error"]["code"], found["error"]["status"]) == ("unsupported_media_type", 415)


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ({"top_k": "999"}, "422 invalid_parameter: top_k: At most 7"),
        ({"model": ["none"]}, "404 model_not_found: .* for classification\\. Available: tiny-classifier, "),
    ],
)
async def test_what_is_wrong_for_every_image_ends_the_run(
    query: dict[str, Any], reason: str, listening: Running
) -> None:
    async with listening() as client, model(str(client.base_url), query=query) as asked:
        with pytest.raises(RunFailedError, match=reason):
            await asked.answer(image_bytes())


async def test_a_key_is_needed_and_sent(listening: Running) -> None:
    secret = api_keys.new_secret()
    key = api_keys.Key("tests", frozenset({"classify"}), api_keys.digest(secret))
    async with listening(keys=key.line()) as client:
        with pytest.raises(RunFailedError, match=r"401 unauthenticated.* RESNEST_API_KEY or --api-key"):
            await model(str(client.base_url)).__aenter__()
        async with model(str(client.base_url), api_key=secret) as asked:
            assert "predictions" in await asked.answer(image_bytes())


async def test_no_service_is_one_sentence_with_the_ways_out() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(RunFailedError) as raised:
        await model(url).__aenter__()
    assert str(raised.value) == (
        f"{url} cannot be asked: Connection refused; start `resnest-service run` there, or name the address of a "
        "running service with --url, or load the model here with --local"
    )


def test_another_scheme_is_refused() -> None:
    with pytest.raises(RunFailedError, match="begins with http://"):
        model("localhost:8000")


async def test_a_busy_service_is_asked_again_and_the_pauses_are_reported(scripted: tuple[str, Any]) -> None:
    url, responses = scripted
    responses += [problem(503, "overloaded", **{"Retry-After": "0"}), problem(429, "rate_limited"), answered()]
    heard = Heard()

    async with RemoteModel(ServiceAccess(url), endpoints()["classify"], {}, heard) as asked:
        assert "predictions" in await asked.answer(b"")

    assert heard.rejections == 2


async def test_patience_ends(scripted: tuple[str, Any]) -> None:
    url, responses = scripted
    responses += [problem(503, "draining", **{"Retry-After": "30"}) for _ in range(2)]

    async with model(url, patience_s=5) as asked:
        with pytest.raises(RunFailedError, match="does not answer: why"):
            await asked.answer(b"")


async def test_a_failure_of_the_service_is_tried_again_before_it_is_the_images(scripted: tuple[str, Any]) -> None:
    url, responses = scripted
    responses += [problem(500, "internal"), answered(), *[problem(500, "internal") for _ in range(3)]]

    async with model(url) as asked:
        assert "predictions" in await asked.answer(b"")
        assert (await asked.answer(b""))["error"]["code"] == "internal"

    assert not responses


async def test_a_late_answer_says_that_the_service_is_busy_however_often(
    scripted: tuple[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_model, "LONGEST_PAUSE_S", 0.01)
    monkeypatch.setattr(remote_model, "FIRST_PAUSE_S", 0.01)
    url, responses = scripted
    late = 2 * remote_model.ASIDE_TRIES
    responses += [*[problem(504, "deadline_exceeded") for _ in range(late)], answered()]
    heard = Heard()

    async with RemoteModel(ServiceAccess(url), endpoints()["classify"], {}, heard) as asked:
        assert "predictions" in await asked.answer(b"")

    assert heard.rejections == remote_model.ASIDE_TRIES, "an image that is set aside does not slow the others down"


async def test_only_answers_that_a_model_computed_say_how_long_the_service_takes(scripted: tuple[str, Any]) -> None:
    url, responses = scripted
    cached = answered()
    cached.headers["Cache-Status"] = "resnest-service; hit"
    computed = answered()
    computed.headers["Cache-Status"] = "resnest-service; fwd=miss"
    responses += [answered(), computed, cached, problem(422, "image_corrupt")]
    heard = Heard()

    async with RemoteModel(ServiceAccess(url), endpoints()["classify"], {}, heard) as asked:
        for _ in range(4):
            await asked.answer(b"")

    assert (len(heard.latencies), heard.without_work, heard.rejections) == (2, 2, 0)
    assert all(0 < seconds < 5 for seconds in heard.latencies)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_image_is_lost_in_a_redirection(scripted: tuple[str, Any], status: int) -> None:
    url, responses = scripted
    responses += [web.Response(status=status, headers={"Location": f"{url}/v1/models"})]

    async with model(url) as asked:
        with pytest.raises(RunFailedError, match=f"redirects to {url}/v1/models"):
            await asked.answer(b"")


async def test_an_answer_of_something_else_ends_the_run(scripted: tuple[str, Any]) -> None:
    url, responses = scripted
    responses += [web.Response(text="<html>", status=200)]

    async with model(url) as asked:
        with pytest.raises(RunFailedError, match="it may be of a proxy"):
            await asked.answer(b"")
