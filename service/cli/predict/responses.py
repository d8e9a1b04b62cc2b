"""What a response about an image means: an answer, a problem of the image or of the run, or a busy service."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from service.cli.predict.failures import RunFailedError
from service.errors import BodyTooLarge, DeadlineExceeded, InvalidHeader, InvalidParameter, ModelRefused
from service.errors.wording import with_choices
from service.measure import unreachable

BUSY: Final = frozenset((408, 429, 503))
OF_THE_IMAGE: Final = frozenset((400, 413, 415, 422))
OF_THE_QUERY: Final = frozenset((InvalidParameter.code(), InvalidHeader.code()))
CACHED: Final = re.compile(r";\s*hit\b")  # in Cache-Status (RFC 9211)

# The code of an image without an answer, although others have one.
NO_ANSWER: Final = "no_answer"


class ServiceReply(NamedTuple):
    """A response: its status, headers and body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class BusyError(Exception):
    """The service asks for patience, or answers late.

    `pause_s` is from its `Retry-After`; None if there is no such header. `problem` is that of the image, if others are
    answered meanwhile.
    """

    def __init__(self, reason: str, pause_s: float | None = None, problem: dict[str, Any] | None = None) -> None:
        super().__init__(reason)
        self.pause_s = pause_s
        detail = f"Other images have an answer, and not this one: {reason}"
        self.problem = problem or {"code": NO_ANSWER, "detail": detail}


def read(reply: ServiceReply, url: str, *, is_image: bool) -> dict[str, Any]:
    """Return the document of a response of the service at `url`. Raises `BusyError` and `RunFailedError`.

    That of an image has the members of its answer, or `error` with its problem.
    """
    status = reply.status
    try:
        document: dict[str, Any] = json.loads(reply.body)
        if status < 300:
            return _answer_of(document) if is_image else document
        code, detail = str(document["code"]), with_choices(document)
    except (ValueError, KeyError, TypeError):
        return _read_foreign(reply, url, is_image=is_image)
    if code == ModelRefused.code():  # it stays so until the operator acts
        raise RunFailedError(f"{url} answered {status} {code}: {detail} Name another with --model")
    if status in BUSY:
        raise BusyError(detail, _retry_after(reply), document)
    if code == DeadlineExceeded.code() and is_image:  # other work was before it
        raise BusyError(detail, problem=document)
    if (status in OF_THE_IMAGE or status >= 500) and code not in OF_THE_QUERY and is_image:
        return {"error": document}
    raise RunFailedError(f"{url} answered {status} {code}: {detail}{unreachable.way_out(code)}")


def is_cached(reply: ServiceReply) -> bool:
    """Return whether the service had the answer in its cache, so that no model computed it."""
    return CACHED.search(reply.headers.get("Cache-Status", "")) is not None


def _read_foreign(reply: ServiceReply, url: str, *, is_image: bool) -> dict[str, Any]:
    """Return what a response means that is not of this service: a proxy rejects an image, or its service is away.

    Raises `BusyError` and `RunFailedError`.
    """
    if reply.status in BUSY or reply.status >= 500:
        raise BusyError(f"a proxy before the service answered {reply.status}", _retry_after(reply))
    if reply.status == BodyTooLarge.status and is_image:
        detail = "A proxy before the service answered 413: the file has more bytes than it lets through."
        return {"error": {"code": BodyTooLarge.code(), "status": BodyTooLarge.status, "detail": detail}}
    if 300 <= reply.status < 400 and (target := reply.headers.get("Location")):
        raise RunFailedError(unreachable.redirected(url, target))
    raise RunFailedError(f"{url} answered {reply.status} with what is no answer of this service; it may be of a proxy")


def _retry_after(reply: ServiceReply) -> float | None:
    text = reply.headers.get("Retry-After", "")
    return float(text) if text.isdecimal() else None


def _answer_of(document: dict[str, Any]) -> dict[str, Any]:
    """Return the members of the only result of a response. Raises `KeyError` or `ValueError` if it is not one."""
    (result,) = document["results"]
    named = {"model": document["model"]} if "model" in document else {"models": document["models"]}
    return {**named, **{name: value for name, value in result.items() if name not in ("index", "filename")}}
