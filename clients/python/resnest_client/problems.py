"""Exceptions: what the service answers in place of a result, and what happens if it does not answer."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, Self

import httpx
from pydantic import BaseModel, ConfigDict, ValidationError

EXCERPT: Final = 200  # characters of an answer that is no problem document
CHOICES: Final = ("available", "accepted")  # members that list what to use instead
KEY_OPTION: Final = "The client sends the key of its parameter `key`: Client(url, key=KEY)."


class ParameterError(BaseModel):
    """An invalid parameter or header, and why it is invalid."""

    model_config = ConfigDict(frozen=True)

    parameter: str
    detail: str


class Problem(BaseModel):
    """A problem document (RFC 9457). `code` never changes its meaning. Further members are in `model_extra`."""

    model_config = ConfigDict(frozen=True, extra="allow")

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str | None = None
    limit: int | None = None
    actual: int | None = None
    accepted: list[str] | None = None
    available: list[str] | None = None
    errors: list[ParameterError] | None = None


class ClientError(Exception):
    """A request without a result. Every exception of this package about a request is one."""


class NoAnswerError(ClientError):
    """The service gave no answer: it cannot be reached, or it did not answer in time.

    `is_late` says whether the time for an answer has passed: a repeated request would be late too.
    """

    def __init__(self, message: str, *, is_late: bool = False) -> None:
        super().__init__(message)
        self.is_late = is_late


class ProblemError(ClientError):
    """The service answered with a problem.

    `code` says which one: branch on it. The message has the problem's `detail`, and the values to choose from.
    `retry_after_s` is the time in seconds after which the service wants the request repeated, None if it named none.
    """

    def __init__(self, problem: Problem, retry_after_s: float | None = None) -> None:
        super().__init__(f"{problem.status} {problem.code}: {_with_choices(problem)}")
        self.problem = problem
        self.retry_after_s = retry_after_s

    def __reduce__(self) -> tuple[type[Self], tuple[Problem, float | None]]:
        """Return how `pickle` makes the exception again, as a pool of processes does with that of a worker."""
        return type(self), (self.problem, self.retry_after_s)

    @property
    def code(self) -> str:
        """Return the stable code, such as `image_too_large`."""
        return self.problem.code

    @property
    def status(self) -> int:
        """Return the HTTP status."""
        return self.problem.status

    @property
    def request_id(self) -> str | None:
        """Return the id to quote in a report: the service's log has it too."""
        return self.problem.request_id


class RequestError(ProblemError):
    """The request is wrong (4xx): correct it before you repeat it."""


class AccessError(RequestError):
    """The key is missing or invalid, or it does not open the path (401, 403)."""


class LimitError(ProblemError):
    """You sent more than your limits allow (429): send less, or later."""


class ServiceError(ProblemError):
    """The service could not answer (408, 5xx): you may repeat the request."""


def error_of(response: httpx.Response) -> ProblemError:
    """Return the exception for a response of status 400 and above."""
    status = response.status_code
    retry_after_s = _seconds(response.headers.get("Retry-After", ""))
    return _class_of(status)(_problem_of(response), retry_after_s)


def foreign_answer(response: httpx.Response) -> ProblemError:
    """Return the exception for a response of status 200 that is no answer of the service."""
    detail = f"This is no answer of resnest-service: check the URL. It begins: {response.text[:EXCERPT]}"
    return RequestError(_foreign_problem(response, detail))


def _with_choices(problem: Problem) -> str:
    """Return the detail, with the values to choose from, or with the parameter for the key if the request had none."""
    if problem.status == 401 and (problem.model_extra or {}).get("reason") == "missing":
        return f"{problem.detail} {KEY_OPTION}"
    listed = {name: values for name in CHOICES if (values := getattr(problem, name)) is not None}
    choices = [f"{name.capitalize()}: {', '.join(values) or 'none'}." for name, values in listed.items()]
    return " ".join([problem.detail, *choices])


def _class_of(status: int) -> type[ProblemError]:
    if status in {401, 403}:
        return AccessError
    if status == 429:
        return LimitError
    return ServiceError if status == 408 or status >= 500 else RequestError


def _problem_of(response: httpx.Response) -> Problem:
    try:
        return Problem.model_validate_json(response.content)
    except ValidationError:  # a proxy in front of the service answered
        target = response.headers.get("Location") if response.is_redirect else None
        moved = f"The address redirects to {target}. Name the URL of the service there." if target else None
        return _foreign_problem(response, moved or response.text[:EXCERPT] or response.reason_phrase)


def _foreign_problem(response: httpx.Response, detail: str) -> Problem:
    status, title = response.status_code, response.reason_phrase
    return Problem(type="about:blank", title=title, status=status, detail=detail, code=f"http_{status}")


def _seconds(value: str) -> float | None:
    """Return the seconds in a `Retry-After`: a number, or the date that some proxies send (RFC 9110, 10.2.3)."""
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (date.replace(tzinfo=date.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
