"""The pages to which a problem's `type` links, generated from the error classes."""

import html
import inspect
import re

from fastapi import APIRouter
from starlette.responses import HTMLResponse

from service.errors import RouteNotFound, ServiceError, every_error

router = APIRouter(include_in_schema=False)

POLICY = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; "
    "base-uri 'none'; form-action 'none'"
}
STYLE = (
    ":root{color-scheme:light dark}body{font:16px/1.5 system-ui;max-width:44rem;margin:2rem auto;padding:0 1rem}"
    "code{background:light-dark(#eee,#333)}"
)
AWAY = "<p><a href='docs'>The API</a> · <a href='./'>Try the models</a></p>"
BACK = "<p><a href='../problems'>All problems</a> · <a href='../docs'>The API</a></p>"


MANUAL = """# Problems

Every failure is an `application/problem+json` document (RFC 9457). Its `type` is `/problems/` and the `code`, relative
to the service. A page with the text below is there. Neither `type` nor `code` ever changes its meaning. Branch on
`code`. `detail` says what happened this time. `limit` is the bound that was broken, `actual` the value that broke it.
Correct a request before you repeat it after a 4xx; a 5xx is not your mistake. After 408, 429 and any 5xx you may repeat
it unchanged, a few times and with growing pauses. `make problems` generates this page from `service/errors/`.
"""


@router.get("/problems")
async def problems() -> HTMLResponse:
    """List all problems."""
    rows = "".join(
        f"<li>{error.status} <a href='problems/{error.code()}'><code>{error.code()}</code></a> "
        f"{html.escape(error.title)}</li>"
        for error in every_error()
    )
    return _page("Problems", f"<ul>{rows}</ul>{AWAY}")


@router.get("/problems/{code}")
async def problem(code: str) -> HTMLResponse:
    """Explain one problem and its cure."""
    error = {error.code(): error for error in every_error()}.get(code)
    if error is None:
        raise RouteNotFound("No problem has that code; /problems lists them.")
    return _page(error.title, "".join(f"<p>{_marked(text)}</p>" for text in _paragraphs(error)) + BACK)


def manual() -> str:
    """Return the text of docs/problems.md: the cause and the cure of every problem, under its code."""
    return MANUAL + "".join(
        f"\n## {error.code()}\n\n{error.status}: {error.title}.\n\n"
        f"**Cause.** {_one_line(inspect.getdoc(error) or '')}\n\n"
        f"**Cure.** {_one_line(' '.join([error.cure, *_retry_advice(error)]))}\n"
        for error in every_error()
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _marked(text: str) -> str:
    """Return the text as HTML, with code between backticks."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))


def _retry_advice(error: type[ServiceError]) -> list[str]:
    """Return the sentence about `Retry-After` for an error that sends it and whose cure does not name it."""
    if error.retry_after_s is None or "Retry-After" in error.cure:
        return []
    return ["The header `Retry-After` says after how many seconds you may try again."]


def _paragraphs(error: type[ServiceError]) -> list[str]:
    cause = inspect.getdoc(error) or ""
    return [f"HTTP {error.status}, code {error.code()}.", cause, error.cure, *_retry_advice(error)]


def _page(title: str, body: str) -> HTMLResponse:
    escaped = html.escape(title)
    return HTMLResponse(
        "<!doctype html><html lang=en><meta charset=utf-8>"
        f"<meta name=viewport content='width=device-width'><title>{escaped}</title><style>{STYLE}</style>"
        f"<h1>{escaped}</h1>{body}",
        headers=POLICY,
    )
