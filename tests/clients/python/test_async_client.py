"""The client with asyncio behaves as the client with threads does."""

import inspect
from pathlib import Path

import httpx
import pytest
from resnest_client import AsyncClient, Client, NoAnswerError, RequestError, RetryPolicy

from tests.clients.python.answers import answer, problem
from tests.clients.python.test_client import in_turn

pytestmark = pytest.mark.anyio


def client_of(*responses: httpx.Response | Exception, **options: object) -> AsyncClient:
    quick = {"retries": RetryPolicy(backoff_s=0.001), **options}
    http = httpx.AsyncClient(transport=httpx.MockTransport(in_turn(*responses)))
    return AsyncClient("http://service", http=http, **quick)  # type: ignore[arg-type]


async def test_a_failure_that_passes_is_not_seen() -> None:
    async with client_of(problem(503, "overloaded"), httpx.ReadError(""), answer("ClassifyResponse")) as client:
        assert (await client.classify(b"image")).predictions


async def test_a_wrong_request_is_raised_at_once() -> None:
    async with client_of(problem(422, "image_corrupt")) as client:
        with pytest.raises(RequestError, match="image_corrupt"):
            await client.classify(b"image")


async def test_a_late_answer_is_not_asked_for_again() -> None:
    async with client_of(httpx.ReadTimeout("")) as client:
        with pytest.raises(NoAnswerError) as caught:
            await client.with_options(timeout_s=1).models()

    assert caught.value.is_late


async def test_a_folder_is_classified_image_by_image(tmp_path: Path) -> None:
    for name in ("a.png", "b.jpg"):
        tmp_path.joinpath(name).write_bytes(name.encode())

    async with client_of(answer("ClassifyResponse"), answer("ClassifyResponse")) as client:
        outcomes = [each async for each in client.classify_folder(tmp_path, concurrency=1, top_k=1)]

    assert [each.image.name for each in outcomes if each.answer] == ["a.png", "b.jpg"]


async def test_both_clients_have_the_same_methods() -> None:
    def methods(client: type) -> dict[str, object]:
        found = inspect.getmembers(client, inspect.isfunction)
        return {name: list(inspect.signature(each).parameters) for name, each in found if not name.startswith("_")}

    assert methods(AsyncClient) == methods(Client)
