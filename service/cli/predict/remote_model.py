"""A model behind a running service, asked over HTTP with many requests at a time."""
# ruff: noqa: PLC0415 - commands that ask no service load no web library

import asyncio
import io
import ipaddress
import math
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Protocol, Self
from urllib.parse import urlsplit

from service.cli.predict import responses
from service.cli.predict.failures import RunFailedError
from service.cli.predict.query_options import encoded
from service.cli.predict.responses import BusyError, ServiceReply
from service.cli.terminal import duration
from service.measure import unreachable
from service.tasks.base import Endpoint

if TYPE_CHECKING:
    import aiohttp

CONCURRENCY: Final = 8  # requests in flight: a batch for the worker
RESPONSE_S: Final = 900.0  # the slowest models' deadlines are minutes
CONNECT_S: Final = 10.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 30.0

# Rejections after which an image is set aside. With the pauses between them they take some 8 seconds.
ASIDE_TRIES: Final = 5

# An answer in this time shows that the service is well, and that another image is not.
EVIDENCE_S: Final = 300.0

# Pixels. Without such an answer a made image is asked, because the last image of a run has no other beside it.
MADE_SIDE: Final = 64

SAY_AFTER_S, SAY_AGAIN_S = 30.0, 300.0
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


class Feedback(Protocol):
    """What hears of the requests of a run, to choose how many are in flight."""

    def busy(self) -> None:
        """Note that the service rejected a request, is away or late."""

    def answered(self, seconds: float) -> None:
        """Note the latency of an answer that a model computed."""

    def answered_without_work(self) -> None:
        """Note an answer from the service's cache, or a problem of the image."""


@dataclass
class _Waiting:
    """An image since its first request: when that was, the next pause in seconds, and the rejections so far."""

    name: str
    begun: float = field(default_factory=time.monotonic)
    pause_s: float = field(default_factory=lambda: FIRST_PAUSE_S)
    tries: int = 0

    @property
    def is_aside(self) -> bool:
        """Whether it was rejected so often that others are to be asked meanwhile."""
        return self.tries >= ASIDE_TRIES


class RemoteModel:
    """An endpoint of a running service with one query. `feedback` hears of its requests, and `say` why they wait.

    `set_aside` is the number of images that were rejected several times and are asked again after long pauses.
    """

    concurrency = CONCURRENCY

    def __init__(
        self,
        access: ServiceAccess,
        endpoint: Endpoint[Any],
        query: Mapping[str, Any],
        feedback: Feedback | None = None,
        say: Callable[[str], object] = lambda _text: None,
    ) -> None:
        if urlsplit(access.url).scheme not in ("http", "https"):
            raise RunFailedError(f"{access.url} is not the URL of a service: it begins with http:// or https://")
        self.set_aside = 0
        self._access = access
        self._base = access.url.rstrip("/")
        self._url = f"{self._base}{endpoint.path}{encoded(query)}"
        self._feedback = feedback
        self._say = say
        self._session: aiohttp.ClientSession | None = None  # with the requests of the run
        self._answered_at = self._said_at = -math.inf

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
            reply = await self._send("GET", f"{self._base}/v1/models", None)
            responses.read(reply, self._access.url, is_image=False)
        except BusyError as error:
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

    async def answer(self, upload: bytes, name: str = "An image") -> dict[str, Any]:
        """Return the members of an image's answer, or `error` with its problem document. Raises `RunFailedError`.

        A request is repeated while the service is busy, late or away, until the patience ends. If others have an
        answer meanwhile, the last rejection is this image's problem.
        """
        waiting, failures = _Waiting(name), 0
        try:
            while True:
                try:
                    document = await self._ask(upload)
                except BusyError as error:
                    pause_s = error.pause_s or waiting.pause_s
                    if time.monotonic() + pause_s > waiting.begun + self._access.patience_s:
                        return {"error": await self._problem_of(waiting, error)}
                    self._note(waiting, error)
                    await asyncio.sleep(pause_s * random.uniform(1, 1.5))  # so that requests do not return together
                    continue
                failures += 1
                if "error" in document and document["error"].get("status", 500) >= 500 and failures < FAILURES:
                    await asyncio.sleep(waiting.pause_s)
                    continue
                return document
        finally:
            self.set_aside -= waiting.is_aside

    async def _problem_of(self, waiting: _Waiting, error: BusyError) -> dict[str, Any]:
        """Return the problem of an image whose patience ended. Raises `RunFailedError` if no other has an answer."""
        is_recent = self._answered_at > max(waiting.begun, time.monotonic() - EVIDENCE_S)
        if is_recent or await self._answers_a_made_image():
            return error.problem
        raise RunFailedError(f"{self._access.url} does not answer: {error}") from error

    async def _answers_a_made_image(self) -> bool:
        """Return whether the service answers about a grey image that is made here. Raises `RunFailedError`."""
        from PIL import Image

        made = io.BytesIO()
        Image.new("RGB", (MADE_SIDE, MADE_SIDE), "grey").save(made, "PNG")
        try:
            reply = await self._send("POST", self._url, made.getvalue())
            responses.read(reply, self._access.url, is_image=True)
        except BusyError:
            return False
        return reply.status < 500

    def _note(self, waiting: _Waiting, error: BusyError) -> None:
        """Note a rejection. Set an image that is rejected often aside, and say why it waits if that takes long."""
        if self._feedback and not waiting.is_aside:
            self._feedback.busy()
        waiting.tries += 1
        waiting.pause_s = min(2 * waiting.pause_s, LONGEST_PAUSE_S)
        self.set_aside += waiting.tries == ASIDE_TRIES
        now = time.monotonic()
        if now - waiting.begun >= SAY_AFTER_S and now - self._said_at >= SAY_AGAIN_S:
            self._said_at = now
            self._say(
                f"{waiting.name} has no answer of {self._access.url} after {duration(now - waiting.begun)}: {error}. "
                f"It is asked again until {duration(self._access.patience_s)} have passed"
            )

    async def _ask(self, upload: bytes) -> dict[str, Any]:
        """Return the document of one answer about an image. Raises `BusyError` and `RunFailedError`."""
        begun = time.perf_counter()
        reply = await self._send("POST", self._url, upload)
        document = responses.read(reply, self._access.url, is_image=True)
        is_answer = "error" not in document
        if is_answer:
            self._answered_at = time.monotonic()
        if self._feedback and reply.status < 500:
            if is_answer and not responses.is_cached(reply):
                self._feedback.answered(time.perf_counter() - begun)
            else:
                self._feedback.answered_without_work()
        return document

    async def _send(self, method: str, url: str, upload: bytes | None) -> ServiceReply:
        """Return the response to one request. Raises `BusyError`."""
        import aiohttp

        if self._session is None:
            raise RuntimeError("the model is used outside its `async with`")
        headers = {"Content-Type": "application/octet-stream"} if upload is not None else {}
        try:
            # A redirection turns most POSTs into GETs, which lose the image.
            asked = self._session.request(method, url, data=upload, headers=headers, allow_redirects=False)
            async with asked as response:
                return ServiceReply(response.status, response.headers, await response.read())
        except (aiohttp.ClientError, TimeoutError) as error:
            raise BusyError(unreachable.reason(error)) from error
