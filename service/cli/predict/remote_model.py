"""A model behind a running service, asked over HTTP with many requests at a time."""
# ruff: noqa: PLC0415 - commands that ask no service load no web library

import asyncio
import ipaddress
import json
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlsplit

from service.cli.predict.failures import RunFailedError
from service.cli.predict.query_options import encoded
from service.errors import DeadlineExceeded, InvalidHeader, InvalidParameter
from service.errors.wording import with_choices
from service.measure import unreachable
from service.tasks.base import Endpoint

if TYPE_CHECKING:
    import aiohttp

CONCURRENCY: Final = 8  # requests in flight: a batch for the worker
RESPONSE_S: Final = 900.0  # the slowest models' deadlines are minutes
CONNECT_S: Final = 10.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 30.0
BUSY: Final = frozenset((408, 429, 503))
OF_THE_IMAGE: Final = frozenset((400, 413, 415, 422))
OF_THE_QUERY: Final = frozenset((InvalidParameter.code(), InvalidHeader.code()))
FAILURES: Final = 3  # answers of 5xx, other than 503 and missed deadlines, after which they are the answer to an image


@dataclass(frozen=True)
class ServiceAccess:
    """A service's URL, the key for it, its header fields, and how long a run waits for it to recover, in seconds."""

    url: str
    api_key: str | None = None
    patience_s: float = 120.0
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_here(self) -> bool:
        """Whether the service is on this machine. Requests to it never go through a proxy."""
        host = urlsplit(self.url).hostname or ""
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"


class _BusyError(Exception):
    """The service asks for patience, or answers late.

    `pause_s` is from its `Retry-After`; None if there is no such header. `problem` is that of an image that was late.
    """

    def __init__(self, reason: str, pause_s: float | None = None, problem: dict[str, Any] | None = None) -> None:
        super().__init__(reason)
        self.pause_s = pause_s
        self.problem = problem


class RemoteModel:
    """An endpoint of a running service with one query. `on_busy` is called when the service rejects a request."""

    concurrency = CONCURRENCY

    def __init__(
        self,
        access: ServiceAccess,
        endpoint: Endpoint[Any],
        query: Mapping[str, Any],
        on_busy: Callable[[], object] = lambda: None,
    ) -> None:
        if urlsplit(access.url).scheme not in ("http", "https"):
            raise RunFailedError(f"{access.url} is not the URL of a service: it begins with http:// or https://")
        self._access = access
        self._base = access.url.rstrip("/")
        self._url = f"{self._base}{endpoint.path}{encoded(query)}"
        self._on_busy = on_busy
        self._session: aiohttp.ClientSession | None = None  # with the requests of the run
        self._answers = 0

    async def __aenter__(self) -> Self:
        """Connect, and raise `RunFailedError` if the service cannot be reached or refuses the key."""
        import aiohttp

        headers = {"Accept": "application/json", **self._access.headers}
        if self._access.api_key:
            headers["Authorization"] = f"Bearer {self._access.api_key}"
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=RESPONSE_S)
        self._session = aiohttp.ClientSession(
            headers=headers,
            timeout=timeout,
            trust_env=not self._access.is_here,
            connector=aiohttp.TCPConnector(limit=0),
        )
        try:
            await self._send("GET", f"{self._base}/v1/models", None)
        except _BusyError as error:
            await self._session.close()
            raise RunFailedError(
                f"{self._access.url} cannot be asked: {error}; {unreachable.WAYS_OUT}, or load the model here with "
                "--local"
            ) from error
        except RunFailedError:
            await self._session.close()
            raise
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        if self._session:
            await self._session.close()

    async def answer(self, upload: bytes) -> dict[str, Any]:
        """Return the members of an image's answer, or `error` with its problem document. Raises `RunFailedError`.

        A request is repeated while the service is busy, late or away, until the patience ends. If only this image was
        late until then, and others were answered meanwhile, that is its problem.
        """
        answers = self._answers
        end, failures, pause_s = time.monotonic() + self._access.patience_s, 0, FIRST_PAUSE_S
        while True:
            try:
                document = await self._send("POST", self._url, upload)
            except _BusyError as error:
                self._on_busy()
                asked_s = error.pause_s or pause_s
                if time.monotonic() + asked_s > end:
                    if error.problem and self._answers > answers:
                        return {"error": error.problem}
                    raise RunFailedError(f"{self._access.url} does not answer: {error}") from error
                await asyncio.sleep(asked_s * random.uniform(1, 1.5))  # so that requests do not return together
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
                continue
            failures += 1
            if "error" in document and document["error"].get("status", 500) >= 500 and failures < FAILURES:
                await asyncio.sleep(pause_s)
                continue
            self._answers += "error" not in document
            return document

    async def _send(self, method: str, url: str, upload: bytes | None) -> dict[str, Any]:
        """Return the answer to one request. Raises `_BusyError` and `RunFailedError`."""
        import aiohttp

        if self._session is None:
            raise RuntimeError("the model is used outside its `async with`")
        headers = {"Content-Type": "application/octet-stream"} if upload is not None else {}
        try:
            async with self._session.request(method, url, data=upload, headers=headers) as response:
                body = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _BusyError(unreachable.reason(error)) from error
        return self._read(response.status, response.headers.get("Retry-After", ""), body, is_image=upload is not None)

    def _read(self, status: int, retry_after: str, body: bytes, *, is_image: bool) -> dict[str, Any]:
        try:
            document: dict[str, Any] = json.loads(body)
            if status < 300:
                return _answer_of(document) if is_image else document
            detail, code = with_choices(document), str(document["code"])
        except (ValueError, KeyError, TypeError) as error:
            raise RunFailedError(
                f"{self._access.url} answered {status} with what is no answer of this service; it may be of a proxy"
            ) from error
        if status in BUSY:
            raise _BusyError(detail, float(retry_after) if retry_after.isdecimal() else None)
        if code == DeadlineExceeded.code() and is_image:  # other work was before it
            raise _BusyError(detail, problem=document)
        if (status in OF_THE_IMAGE or status >= 500) and code not in OF_THE_QUERY and is_image:
            return {"error": document}
        raise RunFailedError(f"{self._access.url} answered {status} {code}: {detail}")


def _answer_of(document: dict[str, Any]) -> dict[str, Any]:
    """Return the members of the only result of a response. Raises `KeyError` if it is not one."""
    (result,) = document["results"]
    named = {"model": document["model"]} if "model" in document else {"models": document["models"]}
    return {**named, **{name: value for name, value in result.items() if name not in ("index", "filename")}}
