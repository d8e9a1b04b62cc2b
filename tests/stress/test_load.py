"""A hundred thousand requests to a real service. Some callers close their connection before the response.

The null model (tests/null_model) costs almost nothing, and still gives each image its own scores.
"""

import asyncio
import base64
import random
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import httpx
import orjson
import pytest

from service.host.processes import free_port
from service.measure.load import http_connection
from service.measure.load.corpus import CorpusImage
from service.measure.load.http_connection import Address, Connection, ConnectionLostError
from service.measure.pipeline import Pipeline
from service.models import cards
from tests.e2e.running import running
from tests.e2e.test_answers import upload
from tests.null_model import service as null_service
from tests.null_model.engine import NullEngine
from tests.stores import write_store
from tests.stress.scale import scaled

pytestmark = [pytest.mark.stress, pytest.mark.timeout(7200)]

REQUESTS = scaled(100_000)
CONNECTIONS = 64
MODEL = "tiny-classifier"
SIZES = ((96, 72), (64, 200), (300, 220))
KINDS = ("JPEG", "PNG", "WEBP")
IMAGES_PER_KIND = 24
# Shares of callers that close their connection before the response, and within their own body.
LEAVING, CUTTING = 0.05, 0.02
MAX_LEAVE_S = 0.03  # the longest time after which such a caller closes its connection
DIGITS = 6  # decimals of a score
IN_FLIGHT = "512"  # images: the default of 64 would reject some requests of this test

Scores = tuple[float, ...]


@dataclass(frozen=True)
class Case:
    """A body with its media type, and the scores that its image must get."""

    body: tuple[bytes, str]
    expected: Scores


def in_json(image: CorpusImage) -> tuple[bytes, str]:
    content = base64.b64encode(image.content).decode()
    return orjson.dumps({"images": [{"content": content}]}), "application/json"


def as_raw(image: CorpusImage) -> tuple[bytes, str]:
    return image.content, image.media_type


def in_form(image: CorpusImage) -> tuple[bytes, str]:
    return http_connection.form([image])


def make_cases(store: Path) -> list[Case]:
    """Return each image in each kind of body. No two images have the same scores."""
    card = cards.read(store / MODEL)
    pipeline = Pipeline(card, NullEngine(card.network.classes))
    variants = product(SIZES, KINDS, range(IMAGES_PER_KIND))
    uploads = [upload(seed, *size, kind) for seed, (size, kind, _) in enumerate(variants)]
    answers = [tuple(round(float(score), DIGITS) for score in answer.arrays["scores"]) for answer in pipeline(*uploads)]
    assert len(set(answers)) == len(uploads), "two equal images would hide a swapped answer"
    images = [CorpusImage("", "image/*", content) for content in uploads]
    pairs = product(zip(images, answers, strict=True), (as_raw, in_form, in_json))
    return [Case(encode(image), answer) for (image, answer), encode in pairs]


class Callers:
    """Callers that send requests over their own connections, and the counts of the outcomes."""

    def __init__(self, address: Address, cases: Sequence[Case]) -> None:
        self.counts: Counter[str] = Counter()
        self._address = address
        self._cases = cases
        self._numbers: Iterator[int] = iter(range(REQUESTS))
        self._random = random.Random(1)

    async def all(self) -> None:
        await asyncio.gather(*(self._one() for _ in range(CONNECTIONS)))

    async def _one(self) -> None:
        connection = await Connection.open(self._address)
        for number in self._numbers:
            if not connection.usable:
                connection = await Connection.open(self._address)
            case = self._random.choice(self._cases)
            headers = {"X-Request-ID": f"r{number}", "Request-Timeout": "60"}
            url = f"http://{self._address.host}:{self._address.port}/v1/classify?top_k={len(case.expected)}"
            request = http_connection.post(url, *case.body, headers).wire
            await self._send(connection, request, number, case.expected)
        connection.close()

    async def _send(self, connection: Connection, request: bytes, number: int, expected: Scores) -> None:
        drawn = self._random.random()
        if drawn < LEAVING + CUTTING:
            cut = len(request) if drawn < LEAVING else self._random.randrange(len(request))
            with suppress(TimeoutError, ConnectionLostError):
                async with asyncio.timeout(self._random.uniform(0, MAX_LEAVE_S)):
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
        assert tuple(found[index] for index in range(len(expected))) == pytest.approx(expected, abs=2e-6)
        self.counts["answered"] += 1


def metric(text: str, beginning: str) -> float:
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(beginning))


def test_every_answer_belongs_to_its_request_while_callers_come_and_go(tmp_path: Path) -> None:
    """A response that came twice would be read as that of the connection's next request, with the wrong request ID."""
    store = write_store(tmp_path / "store", MODEL)
    port = free_port()
    program = (sys.executable, "-m", null_service.__name__)
    settings = {"RESNEST_MAX_IN_FLIGHT": IN_FLIGHT, "PYTHONPATH": str(null_service.ROOT)}
    with running(store, tmp_path / "run", port, program=program, **settings) as service:
        service.await_ready()
        base = f"http://127.0.0.1:{port}"
        before = httpx.get(f"{base}/metrics").text
        callers = Callers(Address("127.0.0.1", port), make_cases(store))
        asyncio.run(callers.all())
        after = httpx.get(f"{base}/metrics").text
        assert httpx.get(f"{base}/readyz").status_code == 200

    counts = callers.counts
    assert counts["answered"] + counts["left"] == REQUESTS, "none is lost"
    assert counts["answered"] > REQUESTS * (1 - 2 * (LEAVING + CUTTING))
    computed = metric(after, "resnest_batch_size_count") - metric(before, "resnest_batch_size_count")
    assert counts["answered"] + counts["too late to leave"] <= computed <= REQUESTS, "none is computed twice"
    assert metric(after, "resnest_retries_total") == 0
    print(f"{dict(counts)}, {computed:.0f} computed")  # noqa: T201 - shown with `-rP`
