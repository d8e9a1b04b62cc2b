"""An ASGI app that reads a request body and returns a fixed response, to compare HTTP servers and clients."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

ANSWER = b"x" * 4_300  # bytes: an answer with 1000 scores


async def answer(scope: Mapping[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Any]) -> None:
    """Read the body and answer with `ANSWER`."""
    while scope["type"] == "http" and (await receive()).get("more_body", False):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(ANSWER))]})
    await send({"type": "http.response.body", "body": ANSWER})
