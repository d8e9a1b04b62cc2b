"""An image without an answer: when it is asked again, set aside, or a problem. See also `test_remote_model.py`."""
# ruff: noqa: F401, F811 - the fixtures are those of other tests

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from service.cli.predict import remote_model
from service.cli.predict import responses as responses_of
from service.cli.predict.failures import RunFailedError
from service.cli.predict.remote_model import RemoteModel, ServiceAccess
from service.tasks import endpoints
from tests.cli.predict.scripted_service import answered, model, problem, scripted
from tests.gateway.conftest import anyio_backend, until

pytestmark = pytest.mark.anyio


# What a service, or a proxy before it, answers to an image again and again, and the code of the image in the end.
ALONE: dict[str, tuple[Callable[[], web.Response | None], str]] = {
    "late": (lambda: problem(504, "deadline_exceeded"), "deadline_exceeded"),
    "slow to upload": (lambda: problem(408, "upload_timeout"), "upload_timeout"),
    "killed in its decoder": (lambda: problem(503, "overloaded"), "overloaded"),
    "fatal to its worker": (lambda: problem(503, "backend_unavailable"), "backend_unavailable"),
    "late for a proxy": (lambda: web.Response(text="<html>", status=504), responses_of.NO_ANSWER),
    "fatal to the connection": (lambda: None, responses_of.NO_ANSWER),
}


async def overtaken(asked: RemoteModel, responses: list[Any], first: Any, later: list[Any]) -> asyncio.Task[Any]:
    """Return the answer to come of an image that is rejected `first`, and after another one had an answer, `later`."""
    responses.append(first)
    late = asyncio.create_task(asked.answer(b""))
    await until(lambda: not responses)
    responses += [answered(), *later]
    await asked.answer(b"")
    return late


@pytest.mark.parametrize("what", ALONE)
async def test_an_image_that_alone_has_no_answer_until_patience_ends_has_a_problem(
    what: str, scripted: tuple[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    rejected, code = ALONE[what]
    monkeypatch.setattr(remote_model, "FIRST_PAUSE_S", 0.4)
    url, responses = scripted
    async with model(url, patience_s=0.8) as asked:
        late = await overtaken(asked, responses, rejected(), [rejected()])
        assert (await late)["error"]["code"] == code


@pytest.mark.parametrize("what", ALONE)
async def test_the_last_image_has_a_problem_only_if_a_made_image_has_an_answer(
    what: str, scripted: tuple[str, Any]
) -> None:
    rejected, code = ALONE[what]
    url, responses = scripted
    async with model(url, patience_s=0.2) as asked:
        responses += [rejected(), answered()]
        assert (await asked.answer(b""))["error"]["code"] == code

        responses += [rejected(), rejected()]
        with pytest.raises(RunFailedError, match="does not answer: "):
            await asked.answer(b"")
    assert not responses


async def test_answers_long_ago_do_not_show_that_only_this_image_is_at_fault(
    scripted: tuple[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_model, "FIRST_PAUSE_S", 0.4)
    monkeypatch.setattr(remote_model, "EVIDENCE_S", 0.1)
    url, responses = scripted
    async with model(url, patience_s=0.7) as asked:
        late = await overtaken(
            asked, responses, problem(503, "overloaded"), [problem(503, "overloaded") for _ in range(2)]
        )
        with pytest.raises(RunFailedError, match="does not answer: why"):
            await late


async def test_an_image_that_is_rejected_often_is_set_aside_until_it_has_an_answer(
    scripted: tuple[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_model, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(remote_model, "LONGEST_PAUSE_S", 0.05)
    url, responses = scripted
    responses += [problem(503, "overloaded") for _ in range(remote_model.ASIDE_TRIES)]
    async with model(url) as asked:
        waiting = asyncio.create_task(asked.answer(b""))
        await until(lambda: asked.set_aside == 1)
        responses.append(answered())
        await waiting

        assert asked.set_aside == 0


async def test_a_model_that_was_left_out_ends_the_run_at_once(scripted: tuple[str, Any]) -> None:
    url, responses = scripted
    responses += [problem(503, "model_refused", **{"Retry-After": "60"})]

    async with model(url, patience_s=3600) as asked:
        async with asyncio.timeout(5):
            with pytest.raises(RunFailedError, match="503 model_refused: why Name another with --model"):
                await asked.answer(b"")


async def test_why_an_image_waits_is_said_now_and_then(
    scripted: tuple[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_model, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(remote_model, "SAY_AFTER_S", 0.02)
    url, responses = scripted
    responses += [*[problem(503, "overloaded") for _ in range(6)], answered()]
    said: list[str] = []

    async with RemoteModel(ServiceAccess(url), endpoints()["classify"], {}, say=said.append) as asked:
        await asked.answer(b"", "photos/cat.jpg")

    (text,) = said
    assert text.startswith(f"photos/cat.jpg has no answer of {url} after 0:00: why. It is asked again until 2:00")
