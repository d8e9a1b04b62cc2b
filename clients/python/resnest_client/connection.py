"""What both clients share: the options of requests, their headers and times, and how an answer is read."""

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import Any, Final, Generic, Self, TypedDict, TypeVar, Unpack

import httpx

from resnest_client.endpoints import Call
from resnest_client.problems import ClientError, NoAnswerError, error_of, foreign_answer
from resnest_client.retries import Deadline, RetryPolicy
from resnest_client.version import __version__

Result = TypeVar("Result")
Http = TypeVar("Http", httpx.Client, httpx.AsyncClient)

LOCAL: Final = "http://127.0.0.1:8000"  # where `resnest-service run` listens
CONNECT_S: Final = 5.0
GRACE_S: Final = 2.0  # after the deadline, for the service's own answer that it has passed
NO_DEADLINE_S: Final = 180.0  # published detectors have 120 s for an image on a CPU

# The longest deadline that a service accepts, unless its operator sets another.
MAX_REQUEST_TIMEOUT_S: Final = 60.0

# A header cannot have other characters.
KEY: Final = re.compile(r"[!-~]*")

# They take all of the time for an answer.
LATE: Final = (httpx.ReadTimeout, httpx.WriteTimeout, httpx.PoolTimeout)


@dataclass(frozen=True)
class Options:
    """The options of requests.

    `timeout_s` is the time for a call with all its attempts. The service gets what is left of it as `Request-Timeout`,
    if that is at most `MAX_REQUEST_TIMEOUT_S`. `priority` is 0, the most urgent, to 7 (RFC 9218). `key` is an API key
    or a token. Blanks and line ends around it are removed. Raise `ValueError` for a key with others inside.
    """

    key: str | None = field(default=None, repr=False)
    timeout_s: float | None = None
    priority: int | None = None
    retries: RetryPolicy = field(default_factory=RetryPolicy)

    def __post_init__(self) -> None:
        if not KEY.fullmatch((self.key or "").strip()):  # httpx would write the key into the message of its error
            raise ValueError("the key has a blank, a line end, or a character that is not ASCII")

    def headers(self, left_s: float | None, *, has_image: bool) -> dict[str, str]:
        """Return the headers of a request that has so many seconds left."""
        headers = {"Accept": "application/json", "User-Agent": f"resnest-client/{__version__}"}
        if has_image:
            headers["Content-Type"] = "application/octet-stream"  # the service reads the type from the bytes
        if key := (self.key or "").strip():
            headers["Authorization"] = f"Bearer {key}"
        if self.priority is not None:
            headers["Priority"] = f"u={self.priority}"
        if left_s is not None and left_s <= MAX_REQUEST_TIMEOUT_S and has_image:
            headers["Request-Timeout"] = f"{left_s:.3f}"
        return headers


class OptionValues(TypedDict, total=False):
    """The same as `Options`, of which some may be missing."""

    key: str | None
    timeout_s: float | None
    priority: int | None
    retries: RetryPolicy


class BaseClient(ABC, Generic[Http]):
    """What both clients have: the address, the options, and the HTTP client."""

    def __init__(
        self,
        url: str = LOCAL,
        *,
        key: str | None = None,
        timeout_s: float | None = None,
        priority: int | None = None,
        retries: RetryPolicy | None = None,
        http: Http | None = None,
    ) -> None:
        """Make a client of the service at `url`. `http` replaces its HTTP client, for proxies and certificates.

        Raise `ValueError` for an address that is no URL of a service, and for a key that no header can have.
        """
        self._url = checked_url(url)
        self._options = Options(key, timeout_s, priority, retries or RetryPolicy())
        self._http: Http = http or self._new_http()
        self._shares_http = False

    @abstractmethod
    def _new_http(self) -> Http:
        """Return the HTTP client that is used if none is given."""

    def with_options(self, **values: Unpack[OptionValues]) -> Self:
        """Return a client with other options, which shares the connections of this one. Only this one closes them."""
        made = type(self)(self._url, http=self._http)
        made._options = replace(self._options, **values)
        made._shares_http = True
        return made

    def _arguments(self, call: Call[Any], content: bytes | None, left_s: float | None) -> dict[str, Any]:
        """Return the arguments of httpx's `request` for a call that has so many seconds left."""
        answer_s = NO_DEADLINE_S if left_s is None else left_s + GRACE_S
        return {
            "method": "GET" if content is None else "POST",
            "url": f"{self._url}/{call.path}",
            "params": call.query,
            "content": content,
            "headers": self._options.headers(left_s, has_image=content is not None),
            "timeout": httpx.Timeout(answer_s, connect=min(CONNECT_S, answer_s)),
        }


def checked_url(url: str) -> str:
    """Return the address of a service without slashes at its end. Raise `ValueError` if it is none."""
    try:
        parsed = httpx.URL(url)
        is_valid = parsed.scheme in {"http", "https"} and parsed.host and not parsed.query and not parsed.fragment
    except httpx.InvalidURL:
        is_valid = False
    if not is_valid:
        raise ValueError(f"the URL of a service has http:// or https:// and a host, and no query, such as {LOCAL}")
    if parsed.path.rstrip("/").endswith("/v1"):
        raise ValueError("the URL of a service ends before /v1, which the client adds")
    return url.rstrip("/")


def read(call: Call[Result], response: httpx.Response) -> Result:
    """Return the result in a response. Raise `ProblemError` for any other status, and for what is no answer."""
    if response.status_code != 200:
        raise error_of(response)
    try:
        return call.read(response.content)
    except (ValueError, TypeError, LookupError, AttributeError) as error:  # another program answered at this address
        raise foreign_answer(response) from error


def no_answer(error: httpx.RequestError, url: str) -> NoAnswerError:
    """Return the exception for a request to the service at `url` that got no answer."""
    address = str(httpx.URL(url).copy_with(userinfo=b""))  # the message may be logged, and a password must not be
    why = str(error) or type(error).__name__
    return NoAnswerError(f"no answer of the service at {address}: {why}", is_late=isinstance(error, LATE))


def wait_s(options: Options, deadline: Deadline, attempt: int, error: ClientError) -> float:
    """Return the seconds to wait before the next attempt. Raise the error if there is to be none."""
    pause_s = options.retries.wait_s(attempt, error)
    if pause_s is None or not deadline.allows(pause_s):
        raise error
    return pause_s
