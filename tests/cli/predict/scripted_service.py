"""A server that answers images as a test says, a model behind it, and what a run hears of its requests."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from service.cli.predict.remote_model import RemoteModel, ServiceAccess
from service.host.processes import free_port
from service.tasks import endpoints


class Heard:
    """Keeps what a run is to hear of its requests."""

    def __init__(self) -> None:
        self.rejections = self.without_work = 0
        self.latencies: list[float] = []

    def busy(self) -> None:
        self.rejections += 1

    def answered(self, seconds: float) -> None:
        self.latencies.append(seconds)

    def answered_without_work(self) -> None:
        self.without_work += 1


def model(url: str, name: str = "classify", query: dict[str, Any] | None = None, **access: Any) -> RemoteModel:
    return RemoteModel(ServiceAccess(url, **access), endpoints()[name], query or {})


@asynccontextmanager
async def serving(answer: Callable[[web.Request], Awaitable[web.Response]]) -> AsyncIterator[str]:
    """Yield the URL of a server that answers images so."""

    async def models(_request: web.Request) -> web.Response:
        return web.json_response({"models": []})

    app = web.Application()
    app.add_routes([web.get("/v1/models", models), web.post("/v1/classify", answer)])
    server = web.AppRunner(app)
    await server.setup()
    port = free_port()
    await web.TCPSite(server, "127.0.0.1", port).start()
    yield f"http://127.0.0.1:{port}"
    await server.cleanup()


@pytest.fixture
async def scripted() -> AsyncIterator[tuple[str, list[web.Response | None]]]:
    """Return the URL of a server that answers images with these responses in turn. None ends the connection."""
    responses: list[web.Response | None] = []

    async def answer(request: web.Request) -> web.Response:
        response = responses.pop(0)
        if response is None and request.transport:
            request.transport.abort()
        return response or web.Response()

    async with serving(answer) as url:
        yield url, responses


def problem(status: int, code: str, **headers: str) -> web.Response:
    document = {"status": status, "code": code, "detail": "why"}
    return web.json_response(document, status=status, headers=headers)


def answered() -> web.Response:
    name = {"name": "m", "version": "1", "task": "t"}
    return web.json_response({"model": name, "results": [{"index": 0, "filename": None, "predictions": []}]})
