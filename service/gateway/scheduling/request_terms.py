"""Read the terms of a request from its headers: caller, urgency, deadline and operation."""

import asyncio
import re
import time
from dataclasses import dataclass

from starlette.requests import Request

from service.errors import InvalidHeader
from service.models.cards import ModelCard
from service.tasks import PREDICT, operation_of

DEFAULT_URGENCY = 3  # RFC 9218, section 4.1: 0 is the most urgent, 7 the least, 3 the default
SECONDS = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?", re.ASCII)
URGENT = re.compile(r"(?:^|,)[ \t]*u=([0-7])[ \t]*(?=[,;]|$)")


@dataclass(frozen=True)
class RequestTerms:
    """Who sent a request, its urgency (RFC 9218), its own deadline in loop time if it names one, and its operation."""

    caller: str = ""
    urgency: int = DEFAULT_URGENCY
    end: float | None = None
    operation: str = PREDICT
    timeout_s: float | None = None  # what the caller asked for

    def ends_early(self, card: ModelCard) -> bool:
        """Return whether the caller gives the model less time than its card."""
        return self.timeout_s is not None and self.timeout_s < operation_of(card, self.operation).deadline_s(card)

    def deadline(self, card: ModelCard, begun: float) -> float:
        """Return the loop time by which the model must answer an image on which work began at `begun`."""
        return begun + operation_of(card, self.operation).deadline_s(card) if self.end is None else self.end


def of(request: Request, max_timeout_s: float, operation: str = PREDICT) -> RequestTerms:
    """Return the terms of a request. `Request-Timeout` counts from its first byte. Raise `InvalidHeader`."""
    sent: dict[bytes, list[str]] = {b"request-timeout": [], b"priority": []}
    for name, value in request.scope["headers"]:
        if name in sent:
            sent[name].append(value.decode("latin-1"))
    timeout_s = _timeout(sent[b"request-timeout"], max_timeout_s)
    end = None
    if timeout_s is not None:
        end = asyncio.get_running_loop().time() - (time.perf_counter() - request.state.started) + timeout_s
    return RequestTerms(caller_of(request), _urgency(sent[b"priority"]), end, operation, timeout_s)


def caller_of(request: Request) -> str:
    """Return who sent a request: the name of its key, the subject of its token or, without either, its address."""
    return str(getattr(request.state, "caller", None) or (request.client.host if request.client else ""))


def _timeout(sent: list[str], max_timeout_s: float) -> float | None:
    if not sent:
        return None
    seconds = float(sent[0]) if len(sent) == 1 and SECONDS.fullmatch(sent[0]) else 0.0
    if not 0 < seconds <= max_timeout_s:
        detail = f"Request-Timeout must be in seconds, above 0 and at most {max_timeout_s:g}, for example 2.5."
        raise InvalidHeader(detail, errors=[{"parameter": "Request-Timeout", "detail": detail}])
    return seconds


def _urgency(sent: list[str]) -> int:
    """Return the last `u` of the header. Malformed values are ignored (RFC 9218, section 4)."""
    named: list[str] = URGENT.findall(",".join(sent)) if sent else []
    return int(named[-1]) if named else DEFAULT_URGENCY
