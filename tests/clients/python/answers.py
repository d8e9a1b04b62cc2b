"""Answers of the service, as its own examples give them."""

from typing import Any

import httpx

from service.gateway.routes import examples


def of(name: str) -> dict[str, Any]:
    """Return the example of a response by the name of its schema."""
    document: dict[str, Any] = examples.responses()[name]
    return document


def answer(name: str) -> httpx.Response:
    """Return a response with that example."""
    return httpx.Response(200, json=of(name))


def problem(status: int, code: str, **headers: str) -> httpx.Response:
    """Return a response with a problem of that code."""
    document = {"type": f"/problems/{code}", "title": "It failed", "status": status, "detail": "Why.", "code": code}
    return httpx.Response(status, json={**document, "request_id": "r-1"}, headers=headers)
