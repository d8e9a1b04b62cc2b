"""Versions of a model: which one serves a request, what the response says, and what the operator sees."""

from collections import Counter
from pathlib import Path

import httpx
import pytest

from service.config.api_keys import digest
from service.config.settings import Settings
from service.config.traffic import TrafficError
from service.gateway.app import create_app
from service.gateway.routes.schemas import ModelList, Traffic
from service.gateway.scheduling.request_terms import RequestTerms
from tests.gateway.conftest import Running, app_of, components_of, settled, until
from tests.gateway.fixtures.fake_torchserve import FakeTorchServe
from tests.gateway.fixtures.images import image_bytes
from tests.gateway.metrics.test_definitions import samples, value
from tests.gateway.routes.open_inference.test_v2_tensors import one
from tests.stores import write_store

pytestmark = pytest.mark.anyio

MODEL, OLD, NEW = "tiny-classifier", "tiny-classifier@1.0", "tiny-classifier"
CALLERS = 60


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with two versions of the classifier. The folder of the older one comes first."""
    folder = write_store(tmp_path_factory.mktemp("versions"), weights=False)
    newer = folder / "tiny-classifier-next"
    newer.mkdir()
    for file in (folder / MODEL).iterdir():
        text = file.read_text(encoding="utf-8").replace('version = "1.0"', 'version = "1.1"')
        newer.joinpath(file.name).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return weigh(tmp_path / "traffic.toml", {"1.0": 50, "1.1": 50})


def weigh(file: Path, weights: dict[str, float], **more: str) -> Path:
    """Write a traffic file."""
    table = ", ".join(f'"{version}" = {weight}' for version, weight in weights.items())
    lines = [f"[{MODEL}]", f"weights = {{ {table} }}", *(f"{name} = {text}" for name, text in more.items())]
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


async def classify(client: httpx.AsyncClient, path: str = "/v1/classify", **headers: str) -> httpx.Response:
    return await client.post(path, content=image_bytes(), headers=headers)


async def versions(client: httpx.AsyncClient, count: int = CALLERS) -> list[str]:
    """The version that serves each of `count` callers."""
    answers = [await classify(client, **{"X-API-Key": f"c{number}"}) for number in range(count)]
    return [version_of(answer) for answer in answers]


def version_of(response: httpx.Response) -> str:
    """The version that answered. Header and body name the same one."""
    assert response.status_code == 200, response.text
    version: str = response.json()["model"]["version"]
    assert response.headers["x-model-version"] == version
    return version


@pytest.fixture
def keys() -> str:
    return "\n".join(f"c{number} classify,admin {digest(f'c{number}')}" for number in range(CALLERS))


async def test_without_a_file_the_highest_version_answers_and_says_so(client: httpx.AsyncClient) -> None:
    answer = await classify(client)

    assert version_of(answer) == "1.1"
    assert answer.json()["model"]["name"] == NEW


async def test_callers_are_spread_by_the_weights_and_each_stays_with_its_version(
    running: Running, file: Path, keys: str
) -> None:
    async with running(traffic_file=file, keys=keys) as client:
        first, second = await versions(client), await versions(client)

    assert first == second
    assert 15 < Counter(first)["1.1"] < 45


async def test_where_nobody_is_asked_who_calls_an_address_stays_with_its_version(running: Running, file: Path) -> None:
    async with running(traffic_file=file, trusted_proxies="127.0.0.0/8") as client:
        by_address = [
            {version_of(await classify(client, **{"X-Forwarded-For": f"192.0.2.{number}"})) for _ in range(3)}
            for number in range(20)
        ]

    assert all(len(seen) == 1 for seen in by_address)
    assert len(set.union(*by_address)) == 2


async def test_a_split_that_is_not_sticky_goes_by_chance(running: Running, file: Path) -> None:
    weigh(file, {"1.0": 50, "1.1": 50}, sticky='"none"')
    async with running(traffic_file=file) as client:
        assert {version_of(await classify(client)) for _ in range(30)} == {"1.0", "1.1"}  # only one of them: 1 in 5e8


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_a_request_may_name_its_version(version: str, running: Running, file: Path) -> None:
    weigh(file, {"1.0": 100 * (version == "1.1"), "1.1": 100 * (version == "1.0")})
    async with running(traffic_file=file) as client:
        answers = [
            await classify(client, **{"X-Model-Version": version}),
            await classify(client, f"/v1/classify?model={MODEL}@{version}"),
            await classify(client, f"/v1/classify?model={MODEL}@{version}", **{"X-Model-Version": version}),
            await classify(client, f"/v1/classify?model={MODEL}", **{"X-Model-Version": version}),
        ]

    assert [version_of(answer) for answer in answers] == [version] * 4


async def test_a_version_that_is_not_there_or_contradicts_the_name_is_refused(client: httpx.AsyncClient) -> None:
    missing = await classify(client, **{"X-Model-Version": "7.0"})
    contradicting = await classify(client, f"/v1/classify?model={OLD}", **{"X-Model-Version": "1.1"})

    assert (missing.status_code, missing.json()["code"]) == (404, "model_not_found")
    assert missing.json()["available"] == ["1.0", "1.1"]
    assert (contradicting.status_code, contradicting.json()["code"]) == (400, "invalid_header")
    assert contradicting.json()["errors"][0]["parameter"] == "X-Model-Version"


async def test_a_version_without_a_ready_worker_is_passed_over_until_it_is_back(
    running: Running, file: Path, fake: FakeTorchServe, keys: str
) -> None:
    async with running(traffic_file=file, keys=keys) as client:
        before = await versions(client, 12)
        workers = fake.workers.pop(NEW)
        await settled(app_of(client))
        without = await versions(client, 12)
        ready = await client.get("/readyz?require=all")
        fake.workers[NEW] = workers
        await settled(app_of(client))
        after = await versions(client, 12)

    assert set(without) == {"1.0"}
    assert ready.status_code == 200
    assert before == after
    assert len(set(before)) == 2


async def test_readiness_asks_for_a_version_with_a_share(running: Running, file: Path, fake: FakeTorchServe) -> None:
    weigh(file, {"1.0": 0, "1.1": 1})
    async with running(traffic_file=file) as client:
        fake.workers[NEW] = []
        await settled(app_of(client))
        ready = await client.get("/readyz?require=all")

    assert ready.status_code == 503
    assert ready.json()["detail"] == f"Not ready: {MODEL}."
    assert ready.json()["models"][OLD]["state"] == "ready"


async def test_kept_answers_are_of_the_version_that_gave_them(
    running: Running, file: Path, fake: FakeTorchServe
) -> None:
    async with running(traffic_file=file, cache_bytes=1_000_000) as client:
        first = [await classify(client, **{"X-Model-Version": version}) for version in ("1.0", "1.1", "1.0", "1.1")]
        condition = {"If-None-Match": first[0].headers["etag"]}
        same = await classify(client, **condition, **{"X-Model-Version": "1.0"})
        other = await classify(client, **condition, **{"X-Model-Version": "1.1"})

    assert (fake.images_for(OLD), fake.images_for(NEW)) == (1, 1)
    assert [version_of(answer) for answer in first] == ["1.0", "1.1", "1.0", "1.1"]
    assert first[0].headers["etag"] == first[2].headers["etag"] != first[1].headers["etag"]
    assert (same.status_code, other.status_code) == (412, 200)
    assert "X-Model-Version" in first[0].headers["vary"]


async def test_a_changed_file_is_in_force_without_a_restart_and_a_broken_one_changes_nothing(
    running: Running, file: Path
) -> None:
    weigh(file, {"1.0": 1})

    async def answered_by(client: httpx.AsyncClient, version: str) -> bool:
        return version_of(await classify(client)) == version

    async with running(traffic_file=file) as client:
        assert await answered_by(client, "1.0")
        weigh(file, {"1.0": 0, "1.1": 1})
        await until(lambda: answered_by(client, "1.1"), 60)

        weigh(file, {"9": 1})
        await until(lambda: is_stale(client), 60)
        assert await answered_by(client, "1.1")
        traffic = (await client.get("/v1/traffic")).json()
        assert "9" in traffic["mistake"]
        assert traffic["file"] == str(file)

        weigh(file, {"1.0": 3, "1.1": 1})
        await until(lambda: is_sound(client), 60)
        traffic = (await client.get("/v1/traffic")).json()
        found = await samples(client)

    Traffic.model_validate(traffic)
    assert traffic["mistake"] is None
    assert traffic["models"][MODEL] == {"sticky": "caller", "shares": {"1.0": 0.75, "1.1": 0.25}, "shadow": None}
    assert value(found, "resnest_version_share", model=OLD, family=MODEL, version="1.0") == 0.75


async def is_stale(client: httpx.AsyncClient) -> bool:
    return value(await samples(client), "resnest_traffic_stale") == 1


async def is_sound(client: httpx.AsyncClient) -> bool:
    return not await is_stale(client)


async def test_the_shares_stand_beside_the_models_and_are_for_administrators_with_all_else(
    running: Running, file: Path, keys: str
) -> None:
    async with running(traffic_file=file, keys=keys + f"\nweb classify {digest('web')}") as client:
        models = (await client.get("/v1/models", headers={"X-API-Key": "web"})).json()
        refused = await client.get("/v1/traffic", headers={"X-API-Key": "web"})
        let_in = await client.get("/v1/traffic", headers={"X-API-Key": "c1"})

    ModelList.model_validate(models)
    assert {(row["name"], row["share"]) for row in models["models"]} >= {(OLD, 0.5), (NEW, 0.5), ("tiny-segmenter", 1)}
    assert (refused.status_code, let_in.status_code) == (403, 200)


async def test_a_file_that_cannot_be_used_keeps_a_gateway_from_starting(settings: Settings, file: Path) -> None:
    weigh(file, {"9": 1})

    with pytest.raises(TrafficError, match=r"traffic\.toml: tiny-classifier: versions that are not served: 9;"):
        create_app(Settings(**(settings.model_dump() | {"traffic_file": file})))


async def test_the_open_inference_protocol_spreads_too_and_says_the_version(running: Running, file: Path) -> None:
    weigh(file, {"1.0": 1, "1.1": 0})
    async with running(traffic_file=file) as client:
        answers = [
            (await client.post(f"/v2/models/{MODEL}{path}/infer", json=one())).json()
            for path in ("", "/versions/1.0", "/versions/1.1")
        ]
        facts = (await client.get(f"/v2/models/{MODEL}")).json()
        missing = await client.get(f"/v2/models/{MODEL}/versions/3/ready")

    assert [(answer["model_name"], answer["model_version"]) for answer in answers] == [
        (MODEL, "1.0"),
        (MODEL, "1.0"),
        (MODEL, "1.1"),
    ]
    assert facts["versions"] == ["1.0", "1.1"]
    assert (missing.status_code, missing.json()["available"]) == (404, ["1.0", "1.1"])


@pytest.mark.parametrize(("sticky", "cached"), [("none", 0), ("caller", 1)])
async def test_a_refusal_by_a_version_that_chance_chose_is_not_told_again(
    sticky: str, cached: int, running: Running, file: Path
) -> None:
    weigh(file, {"1.0": 50, "1.1": 50}, sticky=f'"{sticky}"')
    async with running(traffic_file=file, max_in_flight=2, max_images=2) as client:
        components = components_of(app_of(client))
        with components.admission.enter(list(components.registry.cards.values()), RequestTerms("127.0.0.1"), 2):
            refused = await classify(client)

    assert refused.status_code == 503
    assert len(components.rejections._entries) == cached
