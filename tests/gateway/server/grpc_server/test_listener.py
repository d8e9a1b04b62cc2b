"""The port for gRPC: taken, shared, and closed after the calls in progress."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE

import grpc.aio
import pytest
from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from service.config.settings import Settings
from service.gateway.server.grpc_server.listener import GrpcListener
from service.host.processes import free_ports
from tests.gateway.conftest import until
from tests.gateway.fixtures.fake_torchserve import FakeTorchServe
from tests.gateway.fixtures.images import image_bytes
from tests.gateway.server.grpc_server.conftest import call_of
from tests.gateway.server.grpc_server.test_inference_service import infer
from tests.gateway.server.test_uvicorn_server import process

pytestmark = pytest.mark.anyio


async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
    raise NotImplementedError(f"{scope} {receive} {send}")


async def test_a_port_that_is_taken_is_an_error_of_one_sentence() -> None:
    first = GrpcListener(nothing, Settings(grpc_port=0), shared=False)
    port = await first.start()
    second = GrpcListener(nothing, Settings(grpc_port=port), shared=False)
    with pytest.raises(OSError, match=f"cannot listen for gRPC on 127.0.0.1:{port}"):
        await second.start()
    await asyncio.gather(first.stop(), second.stop())


async def test_processes_of_one_service_share_the_port() -> None:
    (port,) = free_ports(1)
    both = [GrpcListener(nothing, Settings(grpc_port=port), shared=True) for _ in range(2)]
    assert [await each.start() for each in both] == [port, port]
    await asyncio.gather(*(each.stop() for each in both))


async def test_an_address_of_ipv6_is_written_in_brackets() -> None:
    listener = GrpcListener(FastAPI(), Settings(host="::1", grpc_port=0), shared=False)
    assert await listener.start() > 0
    await listener.stop()


async def test_a_gateway_whose_grpc_port_is_taken_ends_and_names_it(settings: Settings, fake: FakeTorchServe) -> None:
    holder = GrpcListener(nothing, Settings(grpc_port=0), shared=False)
    (port,), taken = free_ports(1), await holder.start()
    variables = {
        "RESNEST_MODEL_STORE": str(settings.model_store),
        "RESNEST_INFERENCE_URL": settings.inference_url,
        "RESNEST_MANAGEMENT_URL": settings.management_url,
        "RESNEST_PORT": str(port),
        "RESNEST_GRPC_PORT": str(taken),
    }
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "service.gateway", env={**os.environ, **variables}, stderr=PIPE
    )
    async with asyncio.timeout(60):
        _, said = await running.communicate()
    await holder.stop()
    assert (running.returncode, f"cannot listen for gRPC on 127.0.0.1:{taken}" in said.decode()) == (1, True)


async def test_a_call_in_progress_at_the_end_is_answered(settings: Settings, fake: FakeTorchServe) -> None:
    (port,) = free_ports(1)
    async with (
        process(settings, RESNEST_GRPC_PORT=str(port)) as (running, _),
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        fake.behaviour = "slow"
        made = call_of(channel)("ModelInfer", infer(image_bytes()))
        await until(lambda: fake.waiting, 30)
        running.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.3)  # for the signal to reach the process; the call must still be answered
        fake.release.set()
        answer = await made
        async with asyncio.timeout(20):
            await running.communicate()
    assert answer.outputs
