"""A call of the app without a connection."""

import asyncio

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.gateway.server.grpc_server.asgi_call import HttpRequest, call

pytestmark = pytest.mark.anyio

REQUEST = HttpRequest("POST", "/a", [(b"x-one", b"1")], b"body", ("10.0.0.1", 5), ("10.0.0.2", 6))


async def test_the_app_sees_the_request_and_its_response_comes_back() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        text = f"{request.method} {request.url} {request.headers['x-one']} {(await request.body()).decode()}"
        await Response(text, 418, {"X-Two": "2"})(scope, receive, send)

    found = await call(app, REQUEST)
    assert (found.status, found.headers["x-two"]) == (418, "2")
    assert found.body == b"POST http://10.0.0.2:6/a 1 body"


async def test_a_cancelled_call_ends_the_app_that_waits_for_its_caller() -> None:
    ended = asyncio.Event()

    async def app(_: Scope, receive: Receive, __: Send) -> None:
        try:
            while True:
                await receive()
        finally:
            ended.set()

    task = asyncio.create_task(call(app, REQUEST))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()
