"""A gateway follows the list of the served models, in front of a fake TorchServe."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from service.config.settings import Settings
from service.gateway.app import create_app
from service.host.served_models.roster import RosterFile
from service.models.cards import ModelCard
from tests.gateway.conftest import app_of, components_of, settled, until
from tests.gateway.fixtures.fake_torchserve import FakeTorchServe
from tests.gateway.fixtures.images import image_bytes
from tests.gateway.metrics.test_definitions import samples

pytestmark = pytest.mark.anyio

MODEL, ADDED = "tiny-classifier", "tiny-classifier-b"
LONG_S = 30.0


@pytest.fixture
def roster(tmp_path: Path, served: dict[str, ModelCard]) -> RosterFile:
    """A list with the classifier only."""
    file = RosterFile(tmp_path / "roster.json")
    file.write([served[MODEL]])
    return file


@pytest.fixture
async def client(settings: Settings, roster: RosterFile) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a gateway that follows the list, with the response cache on."""
    app = create_app(Settings(**(settings.model_dump() | {"cache_bytes": 1 << 20})), roster=roster)
    async with app.router.lifespan_context(app):
        await settled(app)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as found:
            yield found


@pytest.fixture
def newer(served: dict[str, ModelCard], fake: FakeTorchServe, tmp_path: Path) -> ModelCard:
    """Version 2.0 of the classifier, at the model server under a name of its own."""
    folder = tmp_path / "newer"
    shutil.copytree(served[MODEL].folder, folder)
    path = folder / "card.toml"
    path.write_text(path.read_text(encoding="utf-8").replace('version = "1.0"', 'version = "2.0"'), encoding="utf-8")
    card = served[MODEL].model_copy(
        update={"version": "2.0", "folder": folder, "registered_as": "tiny-classifier@2.0.2"}
    )
    fake.cards = {**fake.cards, card.server_name: card}
    fake.workers[card.server_name] = [{"pid": 200, "status": "READY"}]
    return card


async def acknowledged(roster: RosterFile) -> None:
    """Wait until the gateway has done what the list says."""
    process = [int(path.suffix[1:]) for path in roster.path.parent.glob("roster.json.*")]
    await until(lambda: process and not roster.pending(process), LONG_S)


async def names(client: httpx.AsyncClient) -> list[str]:
    return [f"{each['name']} {each['version']}" for each in (await client.get("/v1/models")).json()["models"]]


async def classify(client: httpx.AsyncClient, **parameters: str) -> httpx.Response:
    return await client.post("/v1/classify", content=image_bytes(), params=parameters)


async def test_a_model_is_seen_only_once_it_is_served_and_was_ready_before(
    client: httpx.AsyncClient, roster: RosterFile, served: dict[str, ModelCard], fake: FakeTorchServe
) -> None:
    assert ADDED not in (await client.get("/openapi.json")).text
    fake.workers[ADDED] = []
    roster.write([served[MODEL]], [served[ADDED]])
    await until(lambda: components_of(app_of(client)).readiness.watches.keys() == {MODEL, ADDED}, LONG_S)
    assert await names(client) == [f"{MODEL} 1.0"]
    assert (await client.get("/readyz?require=all")).json()["models"].keys() == {MODEL}
    assert (await classify(client, model=ADDED)).json()["code"] == "model_not_found"

    fake.workers[ADDED] = [{"pid": 7, "status": "READY"}]
    components_of(app_of(client)).readiness.recheck()
    await acknowledged(roster)
    roster.write([served[MODEL], served[ADDED]])
    await acknowledged(roster)

    assert await names(client) == [f"{MODEL} 1.0", f"{ADDED} 1.0"]
    assert (await classify(client, model=ADDED)).status_code == 200
    assert ADDED in (await client.get("/openapi.json")).text
    assert ("resnest_model_ready", frozenset({("model", ADDED)})) in await samples(client)


async def test_the_first_model_of_the_list_is_the_default_also_when_only_the_order_changes(
    client: httpx.AsyncClient, roster: RosterFile, served: dict[str, ModelCard]
) -> None:
    for order in ((MODEL, ADDED), (ADDED, MODEL), (MODEL, ADDED)):
        roster.write([served[name] for name in order])
        await acknowledged(roster)

        assert (await classify(client)).json()["model"]["name"] == order[0]
        listed = (await client.get("/v1/models")).json()["models"]
        assert [each["name"] for each in listed if each["default"]] == [order[0]]


async def test_a_removed_model_is_not_found_and_its_gauges_go(
    client: httpx.AsyncClient, roster: RosterFile, served: dict[str, ModelCard]
) -> None:
    roster.write([served[MODEL], served["tiny-segmenter"]])
    await acknowledged(roster)
    assert (await client.post("/v1/segment", content=image_bytes())).status_code == 200

    roster.write([served[MODEL]])
    await acknowledged(roster)

    response = await client.post("/v1/segment", content=image_bytes())
    assert (response.status_code, response.json()["code"]) == (404, "model_not_found")
    assert (await client.get("/v1/models/tiny-segmenter")).status_code == 404
    found = {(name, dict(labels).get("model")) for name, labels in await samples(client)}
    assert ("resnest_workers_ready", "tiny-segmenter") not in found
    assert ("resnest_images_total", "tiny-segmenter") in found
    components = components_of(app_of(client))
    assert {name.partition(" ")[0] for name in components.queues} == {MODEL}
    assert components.readiness.watches.keys() == {MODEL}


async def test_a_request_in_flight_ends_on_the_model_that_it_has_chosen(
    client: httpx.AsyncClient, roster: RosterFile, fake: FakeTorchServe, newer: ModelCard
) -> None:
    fake.by_model[MODEL] = "slow"
    old = asyncio.create_task(classify(client))
    await until(lambda: fake.waiting)
    images = fake.images_for(MODEL)

    roster.write([newer])
    await until(lambda: "requests still use tiny-classifier" in roster.pending(_processes(roster)), LONG_S)
    assert await names(client) == [f"{MODEL} 2.0"]
    assert not old.done()
    fake.by_model.clear()
    fake.release.set()
    answer = await old
    await acknowledged(roster)

    assert (answer.status_code, answer.headers["x-model-version"]) == (200, "1.0")
    assert images == 1
    new = await classify(client)
    assert (new.headers["x-model-version"], new.headers["cache-status"]) == ("2.0", "resnest-service; fwd=miss")


async def test_a_version_keeps_its_workers_when_a_higher_one_takes_the_name(
    client: httpx.AsyncClient, roster: RosterFile, served: dict[str, ModelCard], newer: ModelCard
) -> None:
    old = served[MODEL].model_copy(update={"name": f"{MODEL}@1.0", "registered_as": MODEL})
    roster.write([newer, old])
    await acknowledged(roster)

    assert await names(client) == [f"{MODEL} 2.0", f"{MODEL}@1.0 1.0"]
    assert (await classify(client)).headers["x-model-version"] == "2.0"
    assert (await classify(client, model=f"{MODEL}@1.0")).headers["x-model-version"] == "1.0"
    versions = {dict(labels)["version"] for name, labels in await samples(client) if name == "resnest_version_share"}
    assert versions == {"1.0", "2.0"}


async def test_what_was_prepared_is_forgotten_when_it_is_taken_back(
    client: httpx.AsyncClient, roster: RosterFile, served: dict[str, ModelCard], fake: FakeTorchServe
) -> None:
    fake.by_model[ADDED] = "worker_died"
    roster.write([served[MODEL]], [served[ADDED]])
    await until(lambda: "has not answered a probe image: " in roster.pending(_processes(roster)), LONG_S)
    roster.write([served[MODEL]], reload_failed=True)
    await acknowledged(roster)

    assert components_of(app_of(client)).readiness.watches.keys() == {MODEL}
    assert (await samples(client))["resnest_model_reload_failed", frozenset()] == 1
    assert (await classify(client)).status_code == 200


async def test_a_list_that_cannot_be_used_changes_nothing_and_is_told(
    client: httpx.AsyncClient, roster: RosterFile, served: dict[str, ModelCard], tmp_path: Path
) -> None:
    roster.write([served[MODEL], served[ADDED].model_copy(update={"folder": tmp_path / "gone"})])
    with suppress(TimeoutError):
        await until(lambda: "cannot be read" in roster.pending(_processes(roster)), LONG_S)
    assert "gone/card.toml cannot be read" in roster.pending(_processes(roster))
    assert await names(client) == [f"{MODEL} 1.0"]


def _processes(roster: RosterFile) -> list[int]:
    return [int(path.suffix[1:]) for path in roster.path.parent.glob("roster.json.*")]
