"""Models behind a running service, with the same outputs as a pipeline in this process."""

import http.client
import ipaddress
import json
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib import request
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit

from service.errors import BodyTooLarge, every_error
from service.errors.wording import with_choices
from service.measure import unreachable
from service.measure.accuracy.scoring import scoring_of
from service.measure.accuracy.subjects import Run, Subject
from service.models.cards import CardError
from service.models.labels import Label
from service.tasks import PREDICT, TASKS
from service.tasks.scoring_base import PipelineOutput

TIMEOUT_S: Final = 120.0  # for one pass; operations with a deadline of their own get it in addition
ATTEMPTS: Final = 5  # of a request that the service answers with 429 or 503
MAX_PAUSE_S: Final = 30.0
CONCURRENCY: Final = 8  # requests in flight: a batch for the worker
BUSY: Final = (429, 503)
REJECTED: Final = (400, 413, 415, 422)  # errors of one image, after which the run continues
ERRORS: Final = {error.code(): error for error in every_error()}


@dataclass(frozen=True)
class Service:
    """A running service: its URL, header fields of every request such as an API key, and the timeout of a response."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float = TIMEOUT_S

    def ask(self, path: str, upload: bytes | None = None, accept: str = "application/json") -> bytes:
        """Return the body of the response. A request to a busy service is repeated after its `Retry-After`.

        Raises the service's own `ServiceError` for an image that it rejects, else `CardError`.
        """
        for _ in range(ATTEMPTS - 1):
            try:
                return self._send(path, upload, accept)
            except _BusyError as busy:
                time.sleep(busy.pause_s)
        try:
            return self._send(path, upload, accept)
        except _BusyError as busy:
            raise CardError(f"{self.url} is too busy: {busy}") from busy

    def _send(self, path: str, upload: bytes | None, accept: str) -> bytes:
        headers = {"Accept": accept, **self.headers}
        if upload is not None:
            headers["Content-Type"] = "application/octet-stream"
        sent = request.Request(f"{self.url.rstrip('/')}{path}", upload, headers)  # noqa: S310 - `served` checks it
        try:
            with _opener(self.url).open(sent, timeout=self.timeout_s) as response:
                body: bytes = response.read()
                return body
        except HTTPError as error:
            raise _error_of(self.url, error) from error
        except (URLError, OSError, http.client.HTTPException) as error:
            raise CardError(
                f"{self.url} cannot be reached: {unreachable.reason(error)}; {unreachable.WAYS_OUT}"
            ) from error


class _BusyError(Exception):
    def __init__(self, what: str, pause_s: float) -> None:
        super().__init__(what)
        self.pause_s = pause_s


def served(service: Service, name: str, quality: str = "fast") -> Subject:
    """Return the model of that name. Raises `CardError`."""
    if urlsplit(service.url).scheme not in ("http", "https"):
        raise CardError(f"{service.url} is not the URL of a service: it begins with http:// or https://")
    try:
        card = json.loads(service.ask(f"/v1/models/{quote(name, safe='')}"))
        operation = TASKS[card["task"]].by_name[scoring_of(card["task"]).qualities.get(quality, PREDICT)]
        classes = tuple(_label(row) for row in card["labels"])
        more = "" if operation.name == PREDICT else f"&quality={quality}"
        if more:
            service = replace(service, timeout_s=card[quality]["deadline_s"] + TIMEOUT_S)
        return Subject(
            name=name,
            version=card["version"],
            task=card["task"],
            classes=classes,
            published=card["published"],
            identity=f"{service.url} {card['identity']} {more}",
            batch=1 if operation.has_own_queue else CONCURRENCY,
            open=lambda: _run(service, card, len(classes), more),
        )
    except CardError:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise CardError(f"{service.url} does not describe a model {name} as this service does") from error


def _label(row: dict[str, Any]) -> Label:
    return Label(class_id=row["class_id"], label=row["label"], wnid=row.get("wnid"))


def _run(service: Service, card: dict[str, Any], classes: int, more: str) -> Run:
    ask = scoring_of(card["task"]).ask
    query = f"?model={quote(card['name'], safe='')}{more}"

    def run(*uploads: bytes) -> list[PipelineOutput]:
        with ThreadPoolExecutor(CONCURRENCY) as threads:
            return list(threads.map(lambda upload: ask(service, query, upload, classes), uploads))

    return run


class _NoRedirects(request.HTTPRedirectHandler):
    """Redirect handler that follows none: urllib would turn a POST into a GET, which loses the image."""

    def redirect_request(self, *_: Any) -> None:
        """Return None, so that the redirect is an error response."""


def _opener(url: str) -> request.OpenerDirector:
    """Return what sends requests: through the proxy of the environment, if there is one, but never to this machine."""
    host = urlsplit(url).hostname or ""
    try:
        is_here = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_here = host == "localhost"
    return request.build_opener(_NoRedirects(), *([request.ProxyHandler({})] if is_here else []))


def _proxy_of(error: HTTPError) -> str:
    """Return the name of the proxy that sent this response, as far as its headers say it."""
    named = error.headers.get("Via") or error.headers.get("Server")
    return f"the proxy {named}" if named else "a proxy"


def _error_of(url: str, error: HTTPError) -> Exception:
    """Return the exception for an error response: one to retry, one about the image, or one that ends the run."""
    try:
        with error:
            problem = json.loads(error.read())
        detail, code = str(problem["detail"]), str(problem["code"])
    except (ValueError, KeyError, TypeError, OSError):
        if error.code == BodyTooLarge.status:
            return BodyTooLarge(f"{_proxy_of(error)} before {url} answered 413: it takes no body of that size")
        if 300 <= error.code < 400 and (target := error.headers.get("Location")):
            return CardError(unreachable.redirected(url, target))
        said = f"{url} answered {error.code} {error.reason}"
        return CardError(f"{said}. That is no answer of this service; it may be of a proxy.")
    if error.code in BUSY:
        retry_after = error.headers.get("Retry-After", "1")
        return _BusyError(detail, min(float(retry_after) if retry_after.isdecimal() else 1.0, MAX_PAUSE_S))
    if code in ERRORS and error.code in REJECTED:
        return ERRORS[code](detail)
    return CardError(f"{url} answered {error.code}: {with_choices(problem)}{unreachable.way_out(code)}")
