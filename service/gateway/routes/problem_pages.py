"""The pages that a problem's `type` leads to, written from the error classes themselves."""

import html
import inspect

from fastapi import APIRouter
from starlette.responses import HTMLResponse, RedirectResponse

from service.errors import RouteNotFound, ServiceError, every_error

router = APIRouter(include_in_schema=False)

POLICY = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; "
    "base-uri 'none'; form-action 'none'"
}
STYLE = "body{font:16px/1.5 system-ui;max-width:44rem;margin:2rem auto;padding:0 1rem}code{background:#eee}"


MANUAL = """# Problems

What is wrong with a request, or with us, is told as `application/problem+json` (RFC 9457). Its `type` is `/problems/`
and the `code`, relative to the service that answered, where this text stands too; neither ever changes its meaning.
`code` is the word to branch on, `detail` says what happened this time, `limit` and `actual` which bound was broken. A
4xx is the caller's to mend, a 5xx ours; 408, 429, 502, 503 and 504 may be sent again as they are. `make problems`
writes this page from `service/errors/`.
"""


@router.get("/")
async def home() -> RedirectResponse:
    """Lead to the documentation."""
    return RedirectResponse("/docs")


@router.get("/problems")
async def problems() -> HTMLResponse:
    """List every problem that the service can tell."""
    rows = "".join(
        f"<li>{error.status} <a href='/problems/{error.code()}'><code>{error.code()}</code></a> "
        f"{html.escape(error.title)}</li>"
        for error in every_error()
    )
    return _page("Problems", f"<ul>{rows}</ul>")


@router.get("/problems/{code}")
async def problem(code: str) -> HTMLResponse:
    """Say what one problem means and what to do about it."""
    error = {error.code(): error for error in every_error()}.get(code)
    if error is None:
        raise RouteNotFound("No problem has that code; /problems lists them.")
    return _page(error.title, "".join(f"<p>{html.escape(text)}</p>" for text in _told(error)))


def described() -> str:
    """Every problem as a Markdown table, for the API's own documentation."""
    rows = [f"| `{error.code()}` | {error.status} | {error.title} | {error.cure} |" for error in every_error()]
    return "\n".join(["| code | status | what it says | what to do |", "|---|---|---|---|", *rows])


def manual() -> str:
    """The text of docs/problems.md: the cause and the cure of every problem, under its code."""
    return MANUAL + "".join(
        f"\n## {error.code()}\n\n{error.status}: {error.title}.\n\n**Cause.** {_flat(inspect.getdoc(error) or '')}\n\n"
        f"**Cure.** {_flat(' '.join([error.cure, *_again(error)]))}\n"
        for error in every_error()
    )


def _flat(text: str) -> str:
    """One paragraph, in which Markdown finds no tags."""
    return " ".join(text.split()).replace("<", "&lt;")


def _again(error: type[ServiceError]) -> list[str]:
    seconds = error.retry_after_s
    return [] if seconds is None else ["The header `Retry-After` says in how many seconds it may be sent again."]


def _told(error: type[ServiceError]) -> list[str]:
    return [f"HTTP {error.status}, code {error.code()}.", inspect.getdoc(error) or "", error.cure, *_again(error)]


def _page(title: str, body: str) -> HTMLResponse:
    escaped = html.escape(title)
    return HTMLResponse(
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escaped}</title><style>{STYLE}</style>"
        f"<h1>{escaped}</h1>{body}",
        headers=POLICY,
    )
