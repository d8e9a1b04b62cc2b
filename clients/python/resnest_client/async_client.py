"""The client for programs with asyncio."""

import asyncio
import os
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from functools import partial, wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import httpx

from resnest_client import endpoints
from resnest_client.batches import CONCURRENCY, Outcome, map_tasks
from resnest_client.connection import BaseClient, no_answer, read, wait_s
from resnest_client.endpoints import Call
from resnest_client.problems import ClientError
from resnest_client.results import Classification
from resnest_client.retries import Deadline
from resnest_client.uploads import images_in, read_image

Parameters = ParamSpec("Parameters")
Item = TypeVar("Item")
Result = TypeVar("Result")


def _method(
    build: Callable[Parameters, Call[Result]],
) -> Callable[Concatenate["AsyncClient", Parameters], Coroutine[Any, Any, Result]]:
    """Return a coroutine method with the parameters of `build` that sends the call and returns its result."""

    @wraps(build)
    async def method(self: "AsyncClient", /, *args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        return await self.send(build(*args, **kwargs))

    return method


class AsyncClient(BaseClient[httpx.AsyncClient]):
    """The same as `Client`, with coroutine methods. The tasks of one event loop may share it."""

    def _new_http(self) -> httpx.AsyncClient:
        return httpx.AsyncClient()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections, unless those of another client are used."""
        if not self._shares_http:
            await self._http.aclose()

    classify = _method(endpoints.classify)
    compare = _method(endpoints.compare)
    segment = _method(endpoints.segment)
    detect = _method(endpoints.detect)
    embed = _method(endpoints.embed)
    explain = _method(endpoints.explain)
    models = _method(endpoints.models)
    model = _method(endpoints.model)

    def map(
        self,
        ask: Callable[[Item], Awaitable[Result]],
        images: Iterable[Item] | AsyncIterable[Item],
        *,
        concurrency: int = CONCURRENCY,
    ) -> AsyncIterator[Outcome[Item, Result]]:
        """Yield the outcome of `ask`, a method of this client, for each image, in order."""
        return map_tasks(ask, images, concurrency)

    def classify_folder(
        self, folder: str | os.PathLike[str], *, concurrency: int = CONCURRENCY, **parameters: Any
    ) -> AsyncIterator[Outcome[Path, Classification]]:
        """Yield the outcome of `classify` for each image file in a folder, with these parameters."""
        return self.map(partial(self.classify, **parameters), _found_in(folder), concurrency=concurrency)

    async def send(self, call: Call[Result]) -> Result:
        """Send a call until it is answered, or until it is not to be repeated. Return its result."""
        content = None if call.image is None else await asyncio.to_thread(read_image, call.image)
        deadline = Deadline(self._options.timeout_s)
        attempt = 0
        while True:
            attempt += 1
            try:
                return await self._attempt(call, content, deadline.left_s())
            except ClientError as error:
                await asyncio.sleep(wait_s(self._options, deadline, attempt, error))

    async def _attempt(self, call: Call[Result], content: bytes | None, left_s: float | None) -> Result:
        arguments = self._arguments(call, content, left_s)
        try:
            async with asyncio.timeout(arguments["timeout"].read):  # httpx bounds each read, and not all of them
                response = await self._http.request(**arguments)
        except TimeoutError as error:
            raise no_answer(httpx.ReadTimeout("it took too long"), self._url) from error
        except httpx.RequestError as error:
            raise no_answer(error, self._url) from error
        return read(call, response)


async def _found_in(folder: str | os.PathLike[str]) -> AsyncIterator[Path]:
    """Yield the image files in a folder. They are listed in a thread: a large folder would block the event loop."""
    for path in await asyncio.to_thread(lambda: list(images_in(folder))):
        yield path
