"""The client with asyncio behaves as the client with threads does."""

import inspect
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from resnest_client import AsyncClient, Client, NoAnswerError, RequestError, RetryPolicy, async_client

from tests.clients.python.answers import answer, problem
from tests.clients.python.test_client import in_turn, trickling

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


async def test_a_body_that_comes_byte_by_byte_ends_with_the_deadline() -> None:
    with trickling() as url:
        async with AsyncClient(url, timeout_s=0.01) as client:
            with pytest.raises(NoAnswerError) as caught:
                await client.models()

    assert caught.value.is_late


async def test_images_may_come_from_an_asynchronous_source() -> None:
    async def images() -> AsyncIterator[bytes]:
        for image in (b"a", b"b"):
            yield image

    async with client_of(answer("ClassifyResponse"), answer("ClassifyResponse")) as client:
        outcomes = [each async for each in client.map(client.classify, images(), concurrency=1)]

    assert [each.image for each in outcomes if each.answer] == [b"a", b"b"]


async def test_a_folder_is_listed_in_another_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []

    def listed(_folder: Path) -> list[Path]:
        threads.append(threading.get_ident())
        return []

    monkeypatch.setattr(async_client, "images_in", listed)

    async with client_of() as client:
        assert [each async for each in client.classify_folder(tmp_path)] == []

    assert threads
    assert threads[0] != threading.get_ident()


async def test_both_clients_have_the_same_methods() -> None:
    def methods(client: type) -> dict[str, object]:
        found = inspect.getmembers(client, inspect.isfunction)
        return {name: list(inspect.signature(each).parameters) for name, each in found if not name.startswith("_")}

    assert methods(AsyncClient) == methods(Client)
