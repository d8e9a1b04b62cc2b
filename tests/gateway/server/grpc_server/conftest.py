"""Fixtures of a gateway that listens for gRPC, and a channel to it."""

import functools
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import grpc.aio
import httpx
import pytest

from service.gateway.server.grpc_server.generated import open_inference_pb2 as messages
from service.gateway.server.grpc_server.inference_service import SERVICE
from service.host.processes import free_ports
from tests.gateway.conftest import Running, until

Call = Callable[..., Any]
Open = Callable[..., AbstractAsyncContextManager[Call]]


def call_of(channel: grpc.aio.Channel) -> Call:
    """Return a function that makes a call by its name: `await call("ServerLive", request, timeout=1)`."""

    def call(name: str, request: Any, **more: Any) -> Any:
        answer = getattr(messages, f"{name}Response", messages.ModelInferResponse)
        path, serializer = f"/{SERVICE}/{name}", type(request).SerializeToString
        return channel.unary_unary(path, serializer, answer.FromString)(request, **more)

    return call


@pytest.fixture
def opened(listening: Running) -> Open:
    """Return a context manager that runs a gateway whose models are ready, and yields a function that calls it."""

    @asynccontextmanager
    async def run(**changes: Any) -> AsyncIterator[Call]:
        (port,) = free_ports(1)
        async with listening(readiness_interval_s=0.05, grpc_port=port, **changes) as client:
            await until(functools.partial(_is_ready, client), 30)
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                yield call_of(channel)

    return run


async def _is_ready(client: httpx.AsyncClient) -> bool:
    return (await client.get("/readyz")).is_success


@pytest.fixture
async def call(opened: Open) -> AsyncIterator[Call]:
    """Return a function that calls a gateway with the default settings."""
    async with opened() as made:
        yield made
