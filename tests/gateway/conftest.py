"""Fixtures of a gateway in the test's event loop, in front of a fake TorchServe that is a real server."""

import asyncio
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from inspect import isawaitable
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from service.config.settings import Settings
from service.gateway.access import rejection_cache
from service.gateway.app import create_app
from service.gateway.backend.torchserve import Backend, TorchServe
from service.gateway.components import Components
from service.gateway.scheduling.admission import Admission
from service.gateway.scheduling.request_terms import RequestTerms
from service.gateway.server.uvicorn_server import Server, grpc_listener_of
from service.measure.load.http_connection import Address, Connection
from service.models import zoo
from service.models.cards import ModelCard
from tests.deploy.programs import program
from tests.gateway.fixtures.fake_torchserve import FakeTorchServe
from tests.gateway.fixtures.full_gateway import SLOTS, FullGateway
from tests.gateway.fixtures.redis_server import RedisServer
from tests.stores import write_store

Running = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]
OpenFullGateway = Callable[..., AbstractAsyncContextManager[FullGateway]]


@pytest.fixture
def anyio_backend() -> str:
    """Run tests on asyncio, as the gateway does."""
    return "asyncio"


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store of the test models without weights, which a gateway does not need."""
    return write_store(tmp_path_factory.mktemp("store"), weights=False)


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """Return a folder with a path so short that a socket's path stays within 108 characters."""
    with tempfile.TemporaryDirectory(prefix="gw") as folder:
        yield Path(folder)


@pytest.fixture
def served(store: Path) -> dict[str, ModelCard]:
    """Return the cards of the store."""
    return zoo.read_all(store)


@pytest.fixture
async def fake(short_folder: Path, served: dict[str, ModelCard]) -> AsyncIterator[FakeTorchServe]:
    """Return a fake TorchServe with a ready worker for each model."""
    async with FakeTorchServe(short_folder, served).serving() as serving:
        yield serving


@pytest.fixture
async def torchserve(fake: FakeTorchServe) -> AsyncIterator[TorchServe]:
    """Return a client of the fake."""
    client = TorchServe([fake.address], status_timeout_s=0.2)
    yield client
    await client.close()


@pytest.fixture(params=["tiny-classifier", "tiny-segmenter"])
def card(request: pytest.FixtureRequest, served: dict[str, ModelCard]) -> ModelCard:
    """Return a card, once for each task."""
    return served[request.param]


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """Return a running Redis server."""
    server = RedisServer(program("redis-server"), tmp_path)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def settings(store: Path, fake: FakeTorchServe) -> Settings:
    """Return settings for the fake. The gateway polls workers only at its start.

    It has less shared memory than by default, because the allocation of 32 MiB takes 12 ms of a core.
    """
    return Settings(
        model_store=store,
        inference_url=fake.address.inference,
        management_url=fake.address.management,
        readiness_interval_s=600,
        decode_processes=1,
        shared_memory_bytes=4 << 20,
    )


def components_of(app: FastAPI) -> Components:
    """Return the components of a running app."""
    components: Components = app.state.components
    return components


def at_the_model(client: httpx.AsyncClient, model: str = "tiny-classifier") -> int:
    """Return how many images hold a slot at the model: those that were sent to it, and the next batch."""
    return components_of(app_of(client)).queues[model]._taken


def app_of(client: httpx.AsyncClient) -> FastAPI:
    """Return the app behind a client of `running` or `listening`."""
    app: FastAPI = client._transport.app  # type: ignore[attr-defined]
    return app


async def until(what: Callable[[], object], seconds: float = 10) -> None:
    """Wait until `what()`, or its awaited result, is true. Raise `TimeoutError` after `seconds`."""
    async with asyncio.timeout(seconds):
        while True:
            found = what()
            if await found if isawaitable(found) else found:
                return
            await asyncio.sleep(0.005)


async def settled(app: FastAPI) -> None:
    """Check the workers now, and wait for the probes."""
    readiness = components_of(app).readiness
    await readiness.poll()
    await readiness.wait_for_probes()


@pytest.fixture
def running(settings: Settings) -> Running:
    """Return a context manager that runs a gateway with changed settings and yields a client of it."""

    @asynccontextmanager
    async def run(backend: Backend | None = None, **changes: Any) -> AsyncIterator[httpx.AsyncClient]:
        app = create_app(Settings(**(settings.model_dump() | changes)), backend)
        async with app.router.lifespan_context(app):
            await settled(app)
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
                yield client

    return run


@pytest.fixture
async def client(running: Running) -> AsyncIterator[httpx.AsyncClient]:
    """Return a client of a gateway that is ready."""
    async with running() as client:
        yield client


@pytest.fixture
def listening(settings: Settings) -> Running:
    """Return a context manager that runs a gateway behind a real uvicorn on a free port, and yields a client of it."""

    @asynccontextmanager
    async def run(**changes: Any) -> AsyncIterator[httpx.AsyncClient]:
        changed = Settings(**(settings.model_dump() | changes))
        app = create_app(changed)
        server = Server(app, changed, grpc_listener=grpc_listener_of(app, changed, shared=False))
        with socket.create_server(("127.0.0.1", 0)) as listener:
            task = asyncio.create_task(server.serve(sockets=[listener]))
            await until(lambda: server.started or task.done())
            address = f"http://127.0.0.1:{listener.getsockname()[1]}"
            try:
                async with httpx.AsyncClient(base_url=address, timeout=10) as client:
                    client._transport.app = app  # type: ignore[attr-defined]
                    yield client
            finally:
                server.should_exit = True
                await task

    return run


@pytest.fixture
def open_full_gateway(listening: Running, monkeypatch: pytest.MonkeyPatch) -> OpenFullGateway:
    """Return a context manager that runs a gateway with few slots. It repeats rejections until a slot is released."""
    checked: list[RequestTerms] = []
    check = Admission.check

    def record(admission: Admission, cards: Sequence[ModelCard], terms: RequestTerms, images: int = 1) -> None:
        checked.append(terms)
        check(admission, cards, terms, images)

    monkeypatch.setattr(Admission, "check", record)
    monkeypatch.setattr(rejection_cache, "TTL_S", 600)

    @asynccontextmanager
    async def run(**changes: Any) -> AsyncIterator[FullGateway]:
        async with listening(**{"max_in_flight": SLOTS, "max_images": SLOTS, **changes}) as client:
            connection = await Connection.open(Address.of(str(client.base_url)))
            yield FullGateway(client, components_of(app_of(client)), connection, checked)
            connection.close()

    return run


@pytest.fixture
async def full_gateway(open_full_gateway: OpenFullGateway) -> AsyncIterator[FullGateway]:
    """Return such a gateway with the default settings."""
    async with open_full_gateway() as gateway:
        yield gateway
