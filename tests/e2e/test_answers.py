"""The answers of the whole service, compared with the same models run in this process."""

import base64
import io
import statistics
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import cycle
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from service.measure.pipeline import Pipeline
from service.models import cards
from service.tasks.segmentation.scoring import mask_of
from tests.e2e.running import Running
from tests.odd_images import CORPUS

pytestmark = pytest.mark.e2e

ROUTES = ("/v1/classify", "/v1/segment")
FOLLOWER_BYTES = 40 << 20


def upload(seed: int, width: int = 240, height: int = 180, kind: str = "JPEG") -> bytes:
    """Return an image of random patches, different for each seed."""
    patches = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(patches).resize((width, height), Image.Resampling.NEAREST).save(out, kind)
    return out.getvalue()


@cache
def offline(folder: Path) -> Pipeline:
    """Return the pipeline of a model in this process."""
    return Pipeline.load(cards.read(folder), "cpu")


def post(service: Running, route: str, data: bytes, **parameters: Any) -> httpx.Response:
    return service.client.post(route, content=data, params=parameters, headers={"Content-Type": "image/jpeg"})


def scores(result: dict[str, Any]) -> dict[int, float]:
    return {each["class_id"]: each["score"] for each in result["predictions"]}


def mask(result: dict[str, Any]) -> Any:
    with Image.open(io.BytesIO(base64.b64decode(result["mask"]["data"]))) as opened:
        return np.asarray(opened)


def odd_files() -> list[Path]:
    """Return the files of the corpus of odd images."""
    return [path for path in sorted(CORPUS.rglob("*")) if path.is_file()]


def send_all(service: Running, jobs: list[tuple[str, Path]]) -> int:
    """Send each file to its route, and return how many have an answer. The others must have a problem of 4xx."""

    def send(job: tuple[str, Path]) -> httpx.Response:
        return post(service, job[0], job[1].read_bytes())

    with ThreadPoolExecutor(2) as pool:
        responses = list(pool.map(send, jobs))
    for (_, file), response in zip(jobs, responses, strict=True):
        assert response.status_code == 200 or 400 <= response.status_code < 500, f"{file}: {response.text[:300]}"
        if response.status_code != 200:
            assert response.headers["content-type"] == "application/problem+json", file
            assert response.json()["code"], file
    return sum(response.status_code == 200 for response in responses)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("size", [(240, 180), (96, 400), (1600, 1200)])
def test_a_classification_is_the_one_computed_offline(
    service: Running, served_store: Path, kind: str, size: tuple[int, int]
) -> None:
    data = upload(1, *size, kind)
    (answer,) = offline(served_store / "tiny-classifier")(data)
    response = post(service, "/v1/classify", data, top_k=7)
    assert response.status_code == 200, response.text
    served = scores(response.json()["results"][0])
    assert served == pytest.approx(dict(enumerate(answer.arrays["scores"].tolist())), abs=1e-4)


@pytest.mark.parametrize("size", [(240, 180), (96, 400), (1600, 1200)])
def test_a_segmentation_is_the_one_computed_offline(
    service: Running, served_store: Path, size: tuple[int, int]
) -> None:
    data = upload(2, *size)
    (answer,) = offline(served_store / "tiny-segmenter")(data)
    response = post(service, "/v1/segment", data)
    assert response.status_code == 200, response.text
    (result,) = response.json()["results"]
    np.testing.assert_array_equal(mask(result), mask_of(answer))
    assert {each["class_id"] for each in result["segments"]} == set(np.unique(mask_of(answer)).tolist())
    for segment in result["segments"]:
        assert segment["score"] == pytest.approx(answer.arrays["class_scores"][segment["class_id"]], abs=1e-4)


def test_one_corrupt_upload_of_eight_is_a_problem_and_seven_are_answers(service: Running, served_store: Path) -> None:
    uploads = [upload(seed) for seed in range(8)]
    uploads[3] = uploads[3][:700]
    with ThreadPoolExecutor(8) as pool:
        responses = list(pool.map(lambda data: post(service, "/v1/classify", data, top_k=7), uploads))
    assert [response.status_code for response in responses] == [200, 200, 200, 422, 200, 200, 200, 200]
    assert responses[3].headers["content-type"] == "application/problem+json"
    assert responses[3].json()["code"] == "image_corrupt"
    pipeline = offline(served_store / "tiny-classifier")
    for response, data in zip(responses, uploads, strict=True):
        if response.status_code == 200:
            expected = dict(enumerate(pipeline(data)[0].arrays["scores"].tolist()))
            assert scores(response.json()["results"][0]) == pytest.approx(expected, abs=1e-4)


def test_answers_under_load_belong_to_their_requests(service: Running, served_store: Path) -> None:
    uploads = [upload(seed) for seed in range(24)]
    pipeline = offline(served_store / "tiny-classifier")
    expected = [dict(enumerate(answer.arrays["scores"].tolist())) for answer in pipeline(*uploads)]
    spread = statistics.pstdev(each[0] for each in expected)
    assert spread > 1e-3, "the images must have different answers"
    numbers = list(range(24)) * 10
    with ThreadPoolExecutor(16) as pool:
        responses = list(pool.map(lambda number: post(service, "/v1/classify", uploads[number], top_k=7), numbers))
    for response, number in zip(responses, numbers, strict=True):
        assert response.status_code == 200, response.text
        assert scores(response.json()["results"][0]) == pytest.approx(expected[number], abs=1e-4)
    metrics = service.client.get("/metrics").text
    passes = [line for line in metrics.splitlines() if line.startswith("resnest_batch_size_sum")]
    count = [line for line in metrics.splitlines() if line.startswith("resnest_batch_size_count")]
    assert sum(float(line.split()[-1]) for line in passes) > sum(float(line.split()[-1]) for line in count), (
        "no batches"
    )


def test_of_the_processes_of_a_model_one_has_the_weights_and_the_others_a_few_megabytes(service: Running) -> None:
    workers = service.members("model_service_worker")
    models = {worker.cwd() for worker in workers}
    assert len(workers) == 2 * len(models)
    small = [worker for worker in workers if worker.memory_info().rss < FOLLOWER_BYTES]
    assert {worker.cwd() for worker in small} == models
    assert len(small) == len(models)
    for state in service.client.get("/readyz").json()["models"].values():
        assert (state["workers_ready"], state["workers_configured"]) == (1, 1)


def test_torchserve_listens_for_pictures_on_no_tcp_port(service: Running) -> None:
    """Inference and management use Unix sockets. Metrics and gRPC, which TorchServe always opens, are on loopback."""
    (java,) = service.members("org.pytorch.serve.ModelServer")
    listening = [each.laddr for each in java.net_connections("tcp") if each.status == psutil.CONN_LISTEN]
    assert {address.ip.removeprefix("::ffff:") for address in listening} <= {"127.0.0.1"}
    for address in listening:
        try:
            answer = httpx.get(f"http://127.0.0.1:{address.port}/models", timeout=5)
        except httpx.HTTPError:
            continue
        assert answer.status_code >= 400


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the odd images are missing")
def test_no_odd_image_is_the_services_fault(service: Running) -> None:
    """Send each image to one of the routes in turn; tests/stress sends it to both, and watches the memory."""
    files = odd_files()
    answered = send_all(service, list(zip(cycle(ROUTES), files, strict=False)))
    assert answered > len(files) // 2, "most of the corpus can be read"
    assert service.client.get("/readyz").status_code == 200


def test_the_metrics_name_the_engine_that_runs_each_model_where_its_card_leaves_that_open(
    service: Running, served_store: Path
) -> None:
    families = text_string_to_metric_families(service.client.get("/metrics").text)
    (family,) = [each for each in families if each.name == "resnest_model_info"]
    shown = {
        (each.labels["model"], each.labels["engine"], each.labels["device"]) for each in family.samples if each.value
    }
    served = ("tiny-classifier", "tiny-segmenter")

    assert {cards.read(served_store / name).serving.engine for name in served} == {"auto"}
    assert shown == {(name, "openvino", "cpu") for name in served}
