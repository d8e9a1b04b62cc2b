"""The client for programs with threads, or with one image at a time."""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial, wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import httpx

from resnest_client import endpoints
from resnest_client.batches import CONCURRENCY, Outcome, map_threads
from resnest_client.connection import BaseClient, no_answer, read, wait_s
from resnest_client.endpoints import Call
from resnest_client.problems import ClientError
from resnest_client.results import Classification
from resnest_client.retries import Deadline
from resnest_client.uploads import images_in, read_image

Parameters = ParamSpec("Parameters")
Item = TypeVar("Item")
Result = TypeVar("Result")


def _method(build: Callable[Parameters, Call[Result]]) -> Callable[Concatenate["Client", Parameters], Result]:
    """Return a method with the parameters of `build` that sends the call and returns its result."""

    @wraps(build)
    def method(self: "Client", /, *args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        return self.send(build(*args, **kwargs))

    return method


class Client(BaseClient[httpx.Client]):
    """A client of the service at `url`. Threads may share it.

    `timeout_s` bounds a call with all its attempts, and `priority` is 0 to 7. Methods raise `ProblemError` for a
    problem, `NoAnswerError` if there is no answer, and `OSError` for an unreadable file.
    """

    def _new_http(self) -> httpx.Client:
        return httpx.Client()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections, unless those of another client are used."""
        if not self._shares_http:
            self._http.close()

    classify = _method(endpoints.classify)
    compare = _method(endpoints.compare)
    segment = _method(endpoints.segment)
    detect = _method(endpoints.detect)
    embed = _method(endpoints.embed)
    explain = _method(endpoints.explain)
    models = _method(endpoints.models)
    model = _method(endpoints.model)

    def map(
        self, ask: Callable[[Item], Result], images: Iterable[Item], *, concurrency: int = CONCURRENCY
    ) -> Iterator[Outcome[Item, Result]]:
        """Yield the outcome of `ask`, a method of this client, for each image, in order."""
        return map_threads(ask, images, concurrency)

    def classify_folder(
        self, folder: str | os.PathLike[str], *, concurrency: int = CONCURRENCY, **parameters: Any
    ) -> Iterator[Outcome[Path, Classification]]:
        """Yield the outcome of `classify` for each image file in a folder, with these parameters."""
        return self.map(partial(self.classify, **parameters), images_in(folder), concurrency=concurrency)

    def send(self, call: Call[Result]) -> Result:
        """Send a call until it is answered, or until it is not to be repeated. Return its result."""
        content = None if call.image is None else read_image(call.image)
        deadline = Deadline(self._options.timeout_s)
        attempt = 0
        while True:
            attempt += 1
            try:
                return self._attempt(call, content, deadline.left_s())
            except ClientError as error:
                time.sleep(wait_s(self._options, deadline, attempt, error))

    def _attempt(self, call: Call[Result], content: bytes | None, left_s: float | None) -> Result:
        arguments = self._arguments(call, content, left_s)
        end = time.monotonic() + arguments["timeout"].read
        try:
            with self._http.stream(**arguments) as response:
                response.stream = _TimedBody(response.stream, end)
                response.read()
        except httpx.RequestError as error:
            raise no_answer(error, self._url) from error
        return read(call, response)


class _TimedBody(httpx.SyncByteStream):
    """The body of a response, up to a time of the monotonic clock. httpx bounds each read, and not all of them."""

    def __init__(self, body: Any, end: float) -> None:
        self._body = body
        self._end = end

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._body:
            if time.monotonic() > self._end:
                raise httpx.ReadTimeout("the body took too long")
            yield chunk

    def close(self) -> None:
        self._body.close()
