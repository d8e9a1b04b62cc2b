"""A model behind a running service: pictures out, the same answers back as a pipeline in this process gives."""

import http.client
import io
import json
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any
from urllib import request
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit

import numpy as np
from PIL import Image

from service.errors import every_error
from service.measure.accuracy.scores import BEST
from service.measure.accuracy.subjects import Run, Subject
from service.measure.pipeline import Answer
from service.models.cards import CardError
from service.models.labels import Label
from service.tasks.operations import Quality

TIMEOUT_S = 120.0  # for one pass, and beyond the deadline of many
TRIES = 5  # of a request that is told to come again
LONGEST_PAUSE_S = 30.0
AT_ONCE = 8  # requests under way: a batch for the worker
BUSY = (429, 503)
REFUSED = (400, 413, 415, 422)  # a picture's own fault, and no reason to stop
ERRORS = {error.code(): error for error in every_error()}


@dataclass(frozen=True)
class Service:
    """Where it is, the header fields that every request has, a key for instance, and seconds for an answer to begin."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float = TIMEOUT_S

    def ask(self, path: str, picture: bytes | None = None, accept: str = "application/json") -> bytes:
        """The body of the answer; a full service is asked again when it says so.

        Raises the service's own `ServiceError` for a picture that it refuses, else `CardError`.
        """
        for _ in range(TRIES - 1):
            try:
                return self._once(path, picture, accept)
            except _BusyError as busy:
                time.sleep(busy.pause_s)
        try:
            return self._once(path, picture, accept)
        except _BusyError as busy:
            raise CardError(f"{self.url} is too busy: {busy}") from busy

    def _once(self, path: str, picture: bytes | None, accept: str) -> bytes:
        headers = {"Accept": accept, **self.headers}
        if picture is not None:
            headers["Content-Type"] = "application/octet-stream"
        wanted = request.Request(f"{self.url.rstrip('/')}{path}", picture, headers)  # noqa: S310 - `_checked`
        try:
            with request.urlopen(wanted, timeout=self.timeout_s) as answer:  # noqa: S310
                body: bytes = answer.read()
                return body
        except HTTPError as error:
            raise _told(self.url, error) from error
        except (URLError, OSError, http.client.HTTPException) as error:
            raise CardError(f"{self.url} cannot be asked: {getattr(error, 'reason', None) or error!r}") from error


class _BusyError(Exception):
    def __init__(self, what: str, pause_s: float) -> None:
        super().__init__(what)
        self.pause_s = pause_s


def served(service: Service, name: str, quality: Quality = "fast") -> Subject:
    """The model of that name; `quality` is a segmenter's. Raises `CardError`."""
    if urlsplit(service.url).scheme not in ("http", "https"):
        raise CardError(f"{service.url} is no address of a service: it begins with http:// or https://")
    try:
        card = json.loads(service.ask(f"/v1/models/{quote(name, safe='')}"))
        classes = tuple(_label(row) for row in card["labels"])
        best = quality == "best" and card["task"] == "segmentation"
        if best:
            service = replace(service, timeout_s=card["best"]["deadline_s"] + TIMEOUT_S)
        return Subject(
            name=card["name"],
            version=card["version"],
            task=card["task"],
            classes=classes,
            published=card["published"],
            identity=f"{service.url} {card['identity']} {quality if best else ''}",
            batch=1 if best else AT_ONCE,
            open=lambda: _run(service, card, len(classes), "&quality=best" if best else ""),
        )
    except CardError:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise CardError(f"{service.url} does not describe a model {name} as this service does") from error


def _label(row: dict[str, Any]) -> Label:
    return Label(class_id=row["class_id"], label=row["label"], wnid=row.get("wnid"))


def _run(service: Service, card: dict[str, Any], classes: int, more: str) -> Run:
    ask = _segment if card["task"] == "segmentation" else partial(_classify, classes=classes)
    query = f"?model={quote(card['name'], safe='')}{more}"

    def run(*uploads: bytes) -> list[Answer]:
        with ThreadPoolExecutor(AT_ONCE) as threads:
            return list(threads.map(lambda upload: ask(service, query, upload), uploads))

    return run


def _classify(service: Service, query: str, upload: bytes, classes: int) -> Answer:
    """Of the scores only the best are asked for; the others, which nothing reads, are 0."""
    document = json.loads(service.ask(f"/v1/classify{query}&top_k={min(BEST, classes)}", upload))
    (result,) = document["results"]
    scores = np.zeros(classes, np.float32)
    for row in result["predictions"]:
        scores[row["class_id"]] = row["score"]
    return Answer({"scores": scores}, result["image"]["width"], result["image"]["height"])


def _segment(service: Service, query: str, upload: bytes) -> Answer:
    with Image.open(io.BytesIO(service.ask(f"/v1/segment{query}", upload, "image/png"))) as mask:
        return Answer({"mask": np.asarray(mask)}, mask.width, mask.height)


def _told(url: str, error: HTTPError) -> Exception:
    """What an error of the service becomes: one to wait for, one about the picture, or the end."""
    try:
        with error:
            problem = json.loads(error.read())
        detail, code = str(problem["detail"]), str(problem["code"])
    except (ValueError, KeyError, TypeError, OSError):
        return CardError(f"{url} answered {error.code} {error.reason}")
    if error.code in BUSY:
        asked = error.headers.get("Retry-After", "1")
        return _BusyError(detail, min(float(asked) if asked.isdecimal() else 1.0, LONGEST_PAUSE_S))
    if code in ERRORS and error.code in REFUSED:
        return ERRORS[code](detail)
    return CardError(f"{url} answered {error.code}: {detail}")
