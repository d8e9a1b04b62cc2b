"""On what terms a request is served: who asks what, how urgent it is, and until when the answer is of use."""

import asyncio
import re
import time
from dataclasses import dataclass

from starlette.requests import Request

from service.errors import InvalidHeader
from service.models.cards import ModelCard
from service.tasks.operations import Question, deadline_s

URGENCY = 3  # RFC 9218, section 4.1: 0 is the most urgent, 7 the least, 3 what is meant where nothing is said
SECONDS = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?", re.ASCII)
URGENT = re.compile(r"(?:^|,)[ \t]*u=([0-7])[ \t]*(?=[,;]|$)")


@dataclass(frozen=True)
class RequestTerms:
    """Who asks, the urgency (RFC 9218), the end in the loop's time where the request names one, and the question."""

    caller: str = ""
    urgency: int = URGENCY
    end: float | None = None
    question: Question = "answer"

    def deadline(self, card: ModelCard, begun: float) -> float:
        """Until when a picture is to be answered by this model, if work on it began at `begun`; the loop's time."""
        return begun + deadline_s(card, self.question) if self.end is None else self.end


def of(request: Request, longest_s: float, question: Question = "answer") -> RequestTerms:
    """The terms of a request: `Request-Timeout` counts from its first byte. Raises `InvalidHeader`."""
    timeout_s = _timeout(request.headers.getlist("request-timeout"), longest_s)
    begun = asyncio.get_running_loop().time() - (time.perf_counter() - request.state.started)
    end = None if timeout_s is None else begun + timeout_s
    return RequestTerms(caller_of(request), _urgency(request.headers.getlist("priority")), end, question)


def caller_of(request: Request) -> str:
    """Who sent a request: its key's name, its token's subject, or where nobody is asked, its address."""
    return str(getattr(request.state, "caller", None) or (request.client.host if request.client else ""))


def _timeout(sent: list[str], longest_s: float) -> float | None:
    if not sent:
        return None
    seconds = float(sent[0]) if len(sent) == 1 and SECONDS.fullmatch(sent[0]) else 0.0
    if not 0 < seconds <= longest_s:
        detail = f"Request-Timeout is seconds, more than 0 and at most {longest_s:g}, as in 2.5."
        raise InvalidHeader(detail, errors=[{"parameter": "Request-Timeout", "detail": detail}])
    return seconds


def _urgency(sent: list[str]) -> int:
    """The last `u` of the header; what is malformed is ignored (RFC 9218, section 4)."""
    named: list[str] = URGENT.findall(",".join(sent))
    return int(named[-1]) if named else URGENCY
