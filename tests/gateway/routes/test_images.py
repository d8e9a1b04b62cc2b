"""The routes that take images."""

import asyncio
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute

from service.errors import DeadlineExceeded, MasksTooLarge
from service.gateway.components import Components
from service.gateway.inference.result import Result
from service.gateway.routes.image_results import ImageResults
from service.gateway.routes.images import MAX_PAINTING_PIXELS, Renderer, image_routes, router_of
from service.gateway.scheduling.request_terms import RequestTerms
from service.gateway.uploads.parsers.image_bodies import Upload
from service.models.cards import ModelCard
from service.tasks import TASKS
from service.tasks.base import DecodedFacts, Drawn, ModelOutput, Rendering
from tests.gateway.conftest import Running, app_of, components_of, until
from tests.gateway.fixtures import hostile_work
from tests.gateway.fixtures.fake_torchserve import FakeTorchServe
from tests.gateway.fixtures.images import image_bytes

pytestmark = pytest.mark.anyio

ENDPOINTS = [endpoint for task in TASKS.values() for endpoint in task.endpoints]


def test_every_endpoint_of_every_task_has_a_route() -> None:
    paths = {"/v1/classify", "/v1/detect", "/v1/embed", "/v1/explain", "/v1/segment"}

    assert {route.endpoint.path for route in image_routes()} == paths
    assert len(image_routes()) == len(paths)


def test_fastapi_describes_each_endpoint() -> None:
    described = [route for route in router_of(image_routes()).routes if isinstance(route, APIRoute)]

    assert [(each.path, each.name, each.summary) for each in described] == [
        (endpoint.path, endpoint.name, endpoint.summary) for endpoint in ENDPOINTS
    ]
    assert all(each.methods == {"POST"} for each in described)


@pytest.mark.parametrize("path", [endpoint.path for endpoint in ENDPOINTS])
async def test_a_route_answers_with_the_default_model_of_its_task(
    path: str, client: httpx.AsyncClient, served: dict[str, ModelCard]
) -> None:
    document = (await client.post(path, content=image_bytes())).json()

    (task,) = [task for task in TASKS.values() if path in {endpoint.path for endpoint in task.endpoints}]
    assert document["model"]["task"] == task.name
    assert served[document["model"]["name"]].task == task.name
    assert len(document["results"]) == 1


async def test_only_responses_with_labels_name_a_language(client: httpx.AsyncClient) -> None:
    headers = {"Accept-Language": "de"}
    answers = [await client.post(endpoint.path, content=image_bytes(), headers=headers) for endpoint in ENDPOINTS]

    assert [answer.status_code for answer in answers] == [200] * len(ENDPOINTS)
    for endpoint, answer in zip(ENDPOINTS, answers, strict=True):
        assert ("content-language" in answer.headers) == endpoint.has_labels


async def test_a_file_without_labels_names_no_language(client: httpx.AsyncClient) -> None:
    headers = {"Accept-Language": "de", "Accept": "image/png"}
    answer = await client.post("/v1/segment", content=image_bytes(), headers=headers)

    assert answer.headers["content-type"] == "image/png"
    assert "content-language" not in answer.headers


async def test_each_image_of_a_request_gets_the_result_that_it_gets_alone(
    client: httpx.AsyncClient, fake: FakeTorchServe
) -> None:
    contents = [image_bytes(seed) for seed in range(4)]
    together = await client.post("/v1/segment", files=[("file", each) for each in contents])
    alone = await asyncio.gather(*(client.post("/v1/segment", content=each) for each in contents))

    for index, (result, other) in enumerate(zip(together.json()["results"], alone, strict=True)):
        assert result == {**other.json()["results"][0], "index": index, "filename": result["filename"]}
    assert fake.images_for("tiny-segmenter") == 2 * len(contents)


@dataclass(frozen=True)
class Masks:
    """Masks to paint that note which process paints them, and may harm it."""

    log: Path
    pixels: int
    harm: str | None = None

    def paint(self) -> int:
        with self.log.open("a", encoding="ascii") as log:
            log.write(f"{os.getpid()}\n")
        if self.harm:
            getattr(hostile_work, self.harm)()
        return os.getpid()


class MasksOfEach(Rendering):
    """Paints one of `works` for each output in turn: in a process, or else where its members are made."""

    def __init__(self, works: Sequence[Masks]) -> None:
        self._works = iter(works)

    def painting(self, _card: ModelCard, _facts: DecodedFacts, _output: ModelOutput) -> Masks:
        return next(self._works)

    def members(self, _card: ModelCard, _facts: DecodedFacts, _output: ModelOutput, drawn: Drawn) -> dict[str, Any]:
        return {"pid": os.getpid() if drawn.painted is None else drawn.painted}


def renderer(
    client: httpx.AsyncClient, cards: Sequence[ModelCard], works: Sequence[Masks], terms: RequestTerms | None = None
) -> Renderer:
    """Return what renders as many images as the `works` are for, by these models."""
    components: Components = components_of(app_of(client))
    facts = DecodedFacts(96, 72, "PNG", "RGB", ())
    outputs = tuple(ModelOutput({}, 1, 0.0) for _ in cards)
    results = [Result(Upload(image_bytes()), facts, outputs) for _ in range(len(works) // len(cards))]
    found = ImageResults("id", time.perf_counter(), terms or RequestTerms(), results, {})
    return Renderer(components, cards, found, MasksOfEach(works))


def hold_threads(components: Components, released: threading.Event) -> list[asyncio.Task[bool]]:
    """Occupy all threads that render until `released`."""
    threads = components.settings.encode_threads
    return [asyncio.create_task(components.encoders.run(released.wait, 30)) for _ in range(threads)]


def painters(log: Path) -> list[int]:
    return [int(line) for line in log.read_text(encoding="ascii").split()]


@pytest.mark.parametrize("harm", ["crash", "exhaust"])
async def test_masks_that_break_their_process_are_refused_and_never_painted_in_the_gateway(
    harm: str, client: httpx.AsyncClient, served: dict[str, ModelCard], tmp_path: Path
) -> None:
    card = served["tiny-detector"]
    works = [Masks(tmp_path / "log", 5_000_000, harm), Masks(tmp_path / "log", 5_000_000)]

    (bad,), (good,) = await renderer(client, [card], works).blocks([card])

    assert isinstance(bad, MasksTooLarge)
    assert isinstance(good, dict)
    assert len(painters(tmp_path / "log")) == 2
    assert os.getpid() not in painters(tmp_path / "log")


async def test_masks_that_take_longer_than_the_caller_waits_are_late(
    client: httpx.AsyncClient, served: dict[str, ModelCard], tmp_path: Path
) -> None:
    card, begun = served["tiny-detector"], asyncio.get_running_loop().time()
    terms = RequestTerms(end=begun + 0.5, timeout_s=0.5)

    ((late,),) = await renderer(client, [card], [Masks(tmp_path / "log", 5_000_000, "hang")], terms).blocks([card])

    assert isinstance(late, DeadlineExceeded)
    assert card.serving.deadline_s > 5
    assert asyncio.get_running_loop().time() - begun < card.serving.deadline_s / 2


async def test_a_response_that_waits_for_a_thread_longer_than_the_caller_does_is_late(
    client: httpx.AsyncClient, served: dict[str, ModelCard], tmp_path: Path
) -> None:
    card, components, released = served["tiny-detector"], components_of(app_of(client)), threading.Event()
    held = hold_threads(components, released)
    await asyncio.sleep(0)
    terms = RequestTerms(end=asyncio.get_running_loop().time() + 0.3, timeout_s=0.3)

    ((late,),) = await renderer(client, [card], [Masks(tmp_path / "log", 1)], terms).blocks([card])
    released.set()
    await asyncio.gather(*held)

    assert isinstance(late, DeadlineExceeded)


@pytest.mark.parametrize(("pixels", "in_gateway"), [((3_900_000,), True), ((1_900_000,) * 3, False)])
async def test_small_masks_are_painted_in_processes_too_if_those_of_the_request_are_large_together(
    pixels: tuple[int, ...],
    client: httpx.AsyncClient,
    served: dict[str, ModelCard],
    tmp_path: Path,
    *,
    in_gateway: bool,
) -> None:
    card = served["tiny-detector"]
    works = [Masks(tmp_path / "log", each) for each in pixels]

    blocks = await renderer(client, [card], works).blocks([card])

    found = [row[0] for row in blocks]
    assert all(isinstance(each, dict) and (each["pid"] == os.getpid()) is in_gateway for each in found)


async def test_the_masks_of_all_models_and_images_of_a_request_are_bounded_together(
    client: httpx.AsyncClient, served: dict[str, ModelCard], tmp_path: Path
) -> None:
    cards = [served["tiny-detector"], served["tiny-detector"]]
    most = MAX_PAINTING_PIXELS
    works = [Masks(tmp_path / "log", each) for each in (most // 2, most // 2, 1, 1)]

    (one, other), (first, second) = await renderer(client, cards, works).blocks(cards)

    assert isinstance(one, dict)
    assert isinstance(other, dict)
    for refused in (first, second):
        assert isinstance(refused, MasksTooLarge)
        assert (refused.problem()["limit"], refused.problem()["actual"]) == (most, most + 1)
        assert "fewer images" in refused.detail


async def test_rendering_ends_when_the_client_leaves(listening: Running, served: dict[str, ModelCard]) -> None:
    async with listening() as client:
        components, released = components_of(app_of(client)), threading.Event()
        held = hold_threads(components, released)
        name = served["tiny-segmenter"].server_name
        request = asyncio.create_task(client.post("/v1/segment?model=tiny-segmenter", content=image_bytes()))
        await until(lambda: components.encoders._threads._work_queue.qsize() > 0, 30)
        assert components.in_use.users(name) == 1

        request.cancel()  # closes the connection
        await until(lambda: components.in_use.users(name) == 0, 5)
        released.set()
        await asyncio.gather(*held)
