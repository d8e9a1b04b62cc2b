"""A gateway of few places behind a real uvicorn, who was asked for room in it, and somebody who calls."""

import asyncio
import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import httpx
import orjson

from service.bench.wire import Connection, Reply, post
from service.gateway.gateway import Gateway
from service.gateway.protocol import Protocol
from service.gateway.terms import Terms
from service.schemas import Problem
from tests.gateway.pictures import picture

PLACES = 2
HERE = "127.0.0.1"
NOTHING: Mapping[str, str] = {}

Told = tuple[Reply, dict[str, Any]]


class House:
    """The gateway; `asked` grows with each request that its app was asked for room by."""

    def __init__(self, client: httpx.AsyncClient, gateway: Gateway, connection: Connection, asked: list[Terms]) -> None:
        self.client = client
        self.gateway = gateway
        self.asked = asked
        self._connection = connection

    async def call(self, path: str = "/v1/classify", headers: Mapping[str, str] = NOTHING, body: bytes = b"") -> Told:
        """The answer to a whole request, sent in one write over a connection that stays."""
        reply = await self._connection.exchange(self.wire(headers, path, body))
        return reply, orjson.loads(reply.body)

    def wire(self, headers: Mapping[str, str] = NOTHING, path: str = "/v1/classify", body: bytes = b"") -> bytes:
        """The request's bytes."""
        return post(f"{self.client.base_url}{path}", body or picture(), "image/png", headers).wire

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection of one's own."""
        return await asyncio.open_connection(HERE, self.client.base_url.port)

    @contextmanager
    def full(self, caller: str = HERE, places: int = PLACES, models: Sequence[str] = ()) -> Iterator[None]:
        """Let that caller have all places, or so many, at these models, or every one."""
        cards = [self.gateway.catalogue.card(model) for model in models or self.gateway.catalogue.cards]
        with self.gateway.admission.enter(cards, Terms(caller), places):
            self.asked.clear()
            yield


def server_end(writer: asyncio.StreamWriter) -> Protocol:
    """The server's end of a client's connection."""
    ours = writer.get_extra_info("sockname")
    # By `type`: `isinstance` asks every object for its `__class__`, and torch has one that warns then.
    (found,) = [each for each in gc.get_objects() if type(each) is Protocol and each.client == ours]
    return found


def refused(told: Told) -> None:
    """Whether for want of room, in a whole problem."""
    reply, document = told
    Problem.model_validate(document)
    assert (reply.status, document["code"]) == (503, "overloaded")
    assert reply.headers["x-request-id"] == document["request_id"]
