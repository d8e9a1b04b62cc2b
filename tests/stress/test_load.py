"""A real service under a hundred thousand requests, some of whose callers leave before their answer.

The model costs next to nothing (benchmarks/contest/null_handler.py), and its answers are still those of their pictures.
"""

import asyncio
import base64
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import httpx
import orjson
import pytest

from benchmarks.bars.rounds import IN_FLIGHT
from benchmarks.contest.contestants import CONTESTANTS
from benchmarks.contest.model import Null
from benchmarks.contest.runner import Contest, Entry, started
from service.measure.load import wire
from service.measure.load.corpus import Picture
from service.measure.load.wire import Connection, ConnectionLostError
from service.measure.pipeline import Pipeline
from tests.e2e.test_answers import upload
from tests.stores import write_store
from tests.stress.scale import scaled

pytestmark = [pytest.mark.stress, pytest.mark.timeout(7200)]

REQUESTS = scaled(100_000)
CONNECTIONS = 64
MODEL = "tiny-classifier"
SIZES = ((96, 72), (64, 200), (300, 220))
KINDS = ("JPEG", "PNG", "WEBP")
EACH = 24
LEAVING, CUTTING = 0.05, 0.02  # shares of callers that leave before their answer, and amid their own body
PATIENCE_S = 0.03  # of those, at the most
DIGITS = 6  # of a score

Scores = tuple[float, ...]


@dataclass(frozen=True)
class Asked:
    """A body and its media type, and the scores that its picture has."""

    body: tuple[bytes, str]
    expected: Scores


def in_json(picture: Picture) -> tuple[bytes, str]:
    content = base64.b64encode(picture.content).decode()
    return orjson.dumps({"images": [{"content": content}]}), "application/json"


SHAPES = (lambda picture: (picture.content, picture.media_type), lambda picture: wire.form([picture]), in_json)


def asked_of(store: Path) -> list[Asked]:
    """Every picture in each shape of a body; no two pictures have the same answer."""
    contest = Contest("null", store, MODEL)
    pipeline = Pipeline(contest.card, Null(contest.card.network.classes))
    forms = product(SIZES, KINDS, range(EACH))
    uploads = [upload(seed, *size, kind) for seed, (size, kind, _) in enumerate(forms)]
    answers = [tuple(round(float(score), DIGITS) for score in answer.scores) for answer in pipeline(*uploads)]
    assert len(set(answers)) == len(uploads), "two pictures alike would hide a swapped answer"
    pictures = [Picture("", "image/*", content) for content in uploads]
    pairs = product(zip(pictures, answers, strict=True), SHAPES)
    return [Asked(shape(picture), answer) for (picture, answer), shape in pairs]


class Callers:
    """Connections over which requests are sent, and what became of them."""

    def __init__(self, entry: Entry, asked: Sequence[Asked]) -> None:
        self.counts: Counter[str] = Counter()
        self._entry = entry
        self._asked = asked
        self._numbers: Iterator[int] = iter(range(REQUESTS))
        self._chance = random.Random(1)

    async def all(self) -> None:
        await asyncio.gather(*(self._one() for _ in range(CONNECTIONS)))

    async def _one(self) -> None:
        connection = await Connection.open(self._entry.plan.address)
        for number in self._numbers:
            if not connection.usable:
                connection = await Connection.open(self._entry.plan.address)
            asked = self._chance.choice(self._asked)
            headers = {"X-Request-ID": f"r{number}", "Request-Timeout": "60"}
            url = f"{self._entry.url}?top_k={len(asked.expected)}"
            request = wire.post(url, *asked.body, headers).wire
            await self._send(connection, request, number, asked.expected)
        connection.close()

    async def _send(self, connection: Connection, request: bytes, number: int, expected: Scores) -> None:
        drawn = self._chance.random()
        if drawn < LEAVING + CUTTING:
            cut = len(request) if drawn < LEAVING else self._chance.randrange(len(request))
            with suppress(TimeoutError, ConnectionLostError):
                async with asyncio.timeout(self._chance.uniform(0, PATIENCE_S)):
                    await connection.exchange(request[:cut])
                    self.counts["too late to leave"] += 1
            connection.close()
            self.counts["left"] += 1
            return
        reply = await connection.exchange(request)
        assert reply.status == 200, reply.body
        assert reply.headers["x-request-id"] == f"r{number}"
        (result,) = orjson.loads(reply.body)["results"]
        found = {each["class_id"]: each["score"] for each in result["predictions"]}
        assert tuple(found[place] for place in range(len(expected))) == pytest.approx(expected, abs=2e-6)
        self.counts["answered"] += 1


def metric(text: str, beginning: str) -> float:
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(beginning))


def test_every_answer_belongs_to_its_request_while_callers_come_and_go(tmp_path: Path) -> None:
    """An answer that came twice would be taken for that of the connection's next request, and have another's id."""
    store = write_store(tmp_path / "store", MODEL)
    with started(CONTESTANTS["ours"], Contest("null", store, MODEL), IN_FLIGHT) as entry:
        base = f"http://127.0.0.1:{entry.plan.address.port}"
        before = httpx.get(f"{base}/metrics").text
        callers = Callers(entry, asked_of(store))
        asyncio.run(callers.all())
        after = httpx.get(f"{base}/metrics").text
        assert httpx.get(f"{base}/readyz").status_code == 200

    counts = callers.counts
    assert counts["answered"] + counts["left"] == REQUESTS, "none is lost"
    assert counts["answered"] > REQUESTS * (1 - 2 * (LEAVING + CUTTING))
    computed = metric(after, "resnest_batch_size_count") - metric(before, "resnest_batch_size_count")
    assert counts["answered"] + counts["too late to leave"] <= computed <= REQUESTS, "none is computed twice"
    assert metric(after, "resnest_retries_total") == 0
    print(f"{dict(counts)}, {computed:.0f} computed")  # noqa: T201 - told with `-rP`
