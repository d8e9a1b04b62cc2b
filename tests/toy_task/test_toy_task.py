"""A third task works everywhere as soon as it is registered. No other code of the service names it."""

import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from click.testing import CliRunner

from service.cli.main import main
from service.config.api_keys import digest, parse
from service.config.settings import Settings
from service.engines import load
from service.errors import BackendUnavailable
from service.gateway.app import create_app
from service.gateway.backend.torchserve import Workers
from service.gateway.routes import examples
from service.host.served_models import model_archive
from service.measure.load.session import SessionOptions
from service.measure.pipeline import Pipeline
from service.models import cards, zoo
from service.models.cards import ModelCard
from service.tasks import PREDICT, sample, task_of
from service.tasks.base import ModelOutput
from service.tasks.shared_image import InputImage
from service.worker.batches.batch import run
from tests.gateway.conftest import app_of, components_of, settled, until
from tests.gateway.fixtures.images import image_bytes
from tests.toy_task.conftest import CLASSIFIER, PICKER, SEEDS, network_input, offline
from tests.toy_task.task import PickResponse, registered

pytestmark = pytest.mark.anyio

KEYS = "\n".join(f"{scope}-caller {scope} {digest(scope)}" for scope in ("pick", "classify"))


class InProcess:
    """A model server in this process, with the real engine and the worker's code for batches."""

    def __init__(self, store: Path) -> None:
        self.engines = {card.name: load(card, "cpu") for card in zoo.read_all(store).values()}

    async def predict(
        self, card: ModelCard, image: InputImage, *, deadline: float, request_id: str, operation: str = PREDICT
    ) -> ModelOutput:
        """Return the output of the model."""
        assert (deadline, request_id, operation) > (0, "", "")
        assert isinstance(image, np.ndarray)
        (found,) = run(self.engines[card.name], image[np.newaxis])
        if isinstance(found, Exception):
            raise BackendUnavailable(str(found))
        return ModelOutput(found.arrays, found.batch, found.inference_ms / 1000)

    def shares_memory(self, card: ModelCard) -> bool:
        """Return whether images may be in shared memory."""
        return False

    async def workers(self, _card: ModelCard) -> Workers:
        """Return one worker."""
        return Workers(frozenset({1}), 1)

    async def forget(self, card: ModelCard) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing."""


@pytest.fixture(scope="module")
def server(store: Path) -> InProcess:
    """Return the model server. The task is registered while it loads, as the fixture `task` lasts for one test."""
    with registered():
        return InProcess(store)


@pytest.fixture
def settings(store: Path) -> Settings:
    """Return settings of a gateway."""
    return Settings(model_store=store, readiness_interval_s=600, decode_processes=1)


@pytest.fixture
async def client(server: InProcess, settings: Settings) -> Any:
    """Return a client of a gateway in front of the server. The gateway requires keys."""
    app = create_app(settings.model_copy(update={"keys": KEYS}), server)
    async with app.router.lifespan_context(app):
        await settled(app)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        headers = {"Authorization": "Bearer pick"}
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=headers) as client:
            yield client


async def test_its_route_answers_each_image_with_as_many_picks_as_it_has(
    client: httpx.AsyncClient, store: Path
) -> None:
    contents = [image_bytes(seed) for seed in SEEDS]
    response = await client.post("/v1/pick", files=[("file", each) for each in contents])

    document = PickResponse.model_validate(response.json()).model_dump()
    found = [[pick["class_id"] for pick in result["picks"]] for result in document["results"]]
    assert found == [offline(store, content)[:5] for content in contents]
    assert [len(each) for each in found] == [2, 3, 1, 4]
    assert document["model"] == {"name": PICKER, "version": "1.1", "task": "picking"}


@pytest.mark.parametrize(("key", "status"), [(None, 401), ("classify", 403), ("pick", 200)])
async def test_its_scope_opens_its_routes(key: str | None, status: int, client: httpx.AsyncClient) -> None:
    client.headers.pop("Authorization")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    for path in ("/v1/pick", f"/v2/models/{PICKER}/infer"):
        sent: Any = {"content": image_bytes()} if path == "/v1/pick" else {"json": v2_body()}
        assert (await client.post(path, headers=headers, **sent)).status_code == status


async def test_its_parameters_are_checked(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/pick?most=8", content=image_bytes())

    assert response.json()["code"] == "invalid_parameter"
    assert (await client.post("/v1/pick?many=8", content=image_bytes())).status_code == 422
    two = await client.post("/v1/pick?model=tiny-picker@1.0&model=tiny-picker@1.1", content=image_bytes())
    assert (two.status_code, two.json()["errors"][0]["parameter"]) == (422, "model")
    assert (await client.post(f"/v1/pick?model={CLASSIFIER}", content=image_bytes())).json()[
        "code"
    ] == "model_not_found"


async def test_the_description_has_its_route_with_examples(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    operation = document["paths"]["/v1/pick"]["post"]
    answer = operation["responses"]["200"]["content"]["application/json"]

    PickResponse.model_validate(answer["examples"]["PickResponse"]["value"])
    assert answer["schema"] == {"$ref": "#/components/schemas/PickResponse"}
    assert "image/jpeg" in operation["requestBody"]["content"]
    assert {"most", "Request-Timeout"} <= {each["name"] for each in operation["parameters"]}
    assert "picking" in document["components"]["schemas"]["ModelName"]["properties"]["task"]["enum"]


def v2_body(*contents: bytes) -> dict[str, Any]:
    """Return the body of a request by the Open Inference Protocol, with the image of the examples unless given."""
    if not contents:
        return examples.tensors()
    data = [sample.in_base64(content) for content in contents]
    return {"inputs": [{"name": "image", "shape": [len(data)], "datatype": "BYTES", "data": data}]}


async def test_the_open_inference_protocol_has_its_outputs(client: httpx.AsyncClient) -> None:
    described = (await client.get(f"/v2/models/{PICKER}")).json()
    answered = (await client.post(f"/v2/models/{PICKER}/infer", json=v2_body())).json()

    assert described["outputs"] == [{"name": "picks", "datatype": "FP32", "shape": [-1, -1]}]
    (output,) = answered["outputs"]
    assert output["name"] == "picks"
    assert output["shape"] == [1, len(output["data"])]


async def test_the_open_inference_protocol_refuses_images_with_outputs_of_different_shapes(
    client: httpx.AsyncClient,
) -> None:
    two, again, three = image_bytes(0), image_bytes(1), image_bytes(13)
    alike = await client.post(f"/v2/models/{PICKER}/infer", json=v2_body(two, again))
    different = await client.post(f"/v2/models/{PICKER}/infer", json=v2_body(two, three))

    assert (alike.status_code, alike.json()["outputs"][0]["shape"]) == (200, [2, 2])
    assert (different.status_code, different.json()["code"]) == (422, "invalid_parameter")
    assert "one image" in different.json()["errors"][0]["detail"]


async def test_best_classes_of_an_output_without_scores_are_refused(client: httpx.AsyncClient) -> None:
    wanted = {"outputs": [{"name": "picks", "parameters": {"classification": 2}}]}
    response = await client.post(f"/v2/models/{PICKER}/infer", json=v2_body() | wanted)

    assert (response.status_code, response.json()["code"]) == (422, "invalid_parameter")


async def test_its_models_are_listed_and_one_of_them_is_the_default(client: httpx.AsyncClient) -> None:
    listed = {row["name"]: row for row in (await client.get("/v1/models")).json()["models"]}
    detail = (await client.get(f"/v1/models/{PICKER}")).json()

    assert (listed[PICKER]["task"], listed[PICKER]["state"]) == ("picking", "ready")
    assert [label["label"] for label in detail["labels"]][:2] == ["cat", "dog"]


async def test_shadow_traffic_compares_its_outputs(server: InProcess, settings: Settings, tmp_path: Path) -> None:
    traffic = tmp_path / "traffic.toml"
    traffic.write_text(
        f'[{PICKER}]\nweights = {{"1.0" = 1}}\nshadow = {{version = "1.1", share = 1.0}}\n', encoding="utf-8"
    )
    app = create_app(settings.model_copy(update={"traffic_file": traffic}), server)
    async with app.router.lifespan_context(app):
        await settled(app)
        components = components_of(app)
        await until(lambda: components.decode_queue.has_room_for_background, 60)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            assert (await client.post("/v1/pick", content=image_bytes())).headers["X-Model-Version"] == "1.0"
            await until(
                lambda: (
                    b'resnest_shadow_agreement_total{family="tiny-picker",version="1.1"} 1.0'
                    in components.metrics.text()
                )
            )
            assert app_of(client) is app


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Return a folder of images in folders of two labels."""
    for seed in range(4):
        path = tmp_path / "photos" / ("cat", "dog")[seed % 2] / f"{seed}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image_bytes(seed))
    return tmp_path / "photos"


def call(*words: str) -> str:
    """Run a command, which must succeed, and return its output."""
    done = CliRunner().invoke(main, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_list_of_models_has_a_table_for_it(store: Path) -> None:
    table = call("models", "list", "--store", str(store)).split("\n\n")[-1]

    assert table.split()[:5] == ["PICKING", "WEIGHTS", "INPUT", "PICKED", "STATE"]
    assert PICKER in table


@pytest.mark.parametrize(
    ("words", "scopes"), [(("--scope", "pick"), {"pick"}), ((), {"classify", "segment", "detect", "pick"})]
)
def test_a_new_key_can_have_its_scope(words: tuple[str, ...], scopes: set[str], tmp_path: Path) -> None:
    file = tmp_path / "api-keys"
    call("keys", "new", "picker", "--file", str(file), *words)

    (key,) = parse(file.read_text(encoding="utf-8"))
    assert key.scopes == scopes
    assert "pick" in call("keys", "new", "--help")


def test_evaluate_scores_it(store: Path, photos: Path, tmp_path: Path) -> None:
    words = ("evaluate", PICKER, str(photos), "--store", str(store), "--format", "json", "--into", str(tmp_path / "to"))
    (model,) = json.loads(call(*words))["models"]

    labels = {"cat": 0, "dog": 1}
    right = [labels[path.parent.name] in offline(store, path.read_bytes()) for path in photos.rglob("*.png")]
    assert (model["task"], model["images"], model["picked"]) == ("picking", 4, sum(right) / 4)
    assert "confusion" not in model
    assert [path.name for path in (tmp_path / "to").glob("*.png")] == ["picked-picking.png"]


def test_bench_offers_its_route() -> None:
    assert "pick" in call("bench", "--help")
    assert SessionOptions(url="http://127.0.0.1:1", task="pick").target == "http://127.0.0.1:1/v1/pick"


def test_it_is_packaged_for_torchserve(store: Path, tmp_path: Path) -> None:
    card = cards.read(store / PICKER)
    archive = model_archive.package(card, tmp_path)

    assert (archive / "card.toml").read_text(encoding="utf-8").count('"picking"') == 1
    assert task_of(card).name == "picking"


def test_the_offline_pipeline_answers_as_the_engine_does(store: Path) -> None:
    (output,) = Pipeline.load(cards.read(store / PICKER), "cpu")(image_bytes())

    assert output.arrays["picks"].astype(int).tolist() == offline(store, image_bytes())


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_every_engine_gives_each_image_its_own_number_of_picks(engine: str, store: Path) -> None:
    card = cards.read(store / PICKER)
    card = card.model_copy(update={"serving": card.serving.model_copy(update={"engine": engine, "precision": "fp32"})})
    batch = np.stack([network_input(card, image_bytes(seed)) for seed in SEEDS])
    picks = load(card, "cpu")(batch)["picks"]

    assert [each.astype(int).tolist() for each in picks] == [offline(store, image_bytes(seed)) for seed in SEEDS]
    assert [each.shape for each in picks] == [(2,), (3,), (1,), (4,)]
    assert {each.dtype.name for each in picks} == {"float32"}
