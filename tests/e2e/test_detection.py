"""Detection by the whole service, compared with the same model in this process, and the built-in detector."""

import io
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from service.engines import multi_graph
from service.host.processes import free_port
from service.measure.pipeline import Pipeline
from service.models import cards
from tests.e2e.running import Running, running
from tests.e2e.test_answers import STARTERS, post, upload
from tests.stores import serving, write_store

pytestmark = pytest.mark.e2e

STARTER = "starter-detector"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("store"), "tiny-detector")


def close_to(rows: list[dict[str, Any]], arrays: dict[str, Any], width: int, height: int) -> None:
    """Check every detection of a response against the arrays of the offline pipeline."""
    assert len(rows) == len(arrays["scores"])
    np.testing.assert_allclose([row["score"] for row in rows], arrays["scores"], atol=2e-3)
    for row, box, class_id in zip(rows, arrays["boxes"], arrays["class_ids"], strict=True):
        left, top, right, bottom = box * [width, height, width, height]
        np.testing.assert_allclose(
            row["bbox"], [left, top, right - left, bottom - top], atol=0.002 * max(width, height)
        )
        assert row["class_id"] == class_id


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_detections_are_those_computed_offline(store: Path, tmp_path: Path, engine: str) -> None:
    card = cards.read(store / "tiny-detector")
    text = (card.folder / "card.toml").read_text(encoding="utf-8")
    chosen = tmp_path / "store" / "tiny-detector"
    chosen.mkdir(parents=True)
    for path in card.folder.iterdir():
        (chosen / path.name).write_bytes(path.read_bytes())
    exact = f'engine = "{engine}"\nprecision = "fp32"'  # random scores are so close that bfloat16 changes their order
    (chosen / "card.toml").write_text(text.replace("[serving]", f"[serving]\n{exact}"), encoding="utf-8")
    pipeline = Pipeline(card, multi_graph.load(serving(card, engine="torch"), "cpu"))
    with running(tmp_path / "store", tmp_path / "run", free_port()) as service:
        service.await_ready()
        for size in ((240, 180), (96, 400), (640, 480)):
            data = upload(2, *size)
            (expected,) = pipeline(data)
            response = post(service, "/v1/detect", data, min_score=0)
            assert response.status_code == 200, response.text
            (result,) = response.json()["results"]
            close_to(result["detections"], expected.arrays, *size)
            for row in result["detections"]:
                mask = coco.decode({**row["mask"], "counts": row["mask"]["counts"].encode()})
                assert mask.shape == size[::-1]
                assert mask.sum() == row["pixels"]
        several = service.client.post("/v1/detect", files=[("file", upload(seed)) for seed in range(3)])
        alone = [post(service, "/v1/detect", upload(seed)).json()["results"][0]["detections"] for seed in range(3)]
        assert [row["detections"] for row in several.json()["results"]] == alone
        assert len({str(rows) for rows in alone}) == 3
        assert service.end() == 0


@pytest.fixture(scope="module")
def starter(tmp_path_factory: pytest.TempPathFactory) -> Any:
    if not (STARTERS / STARTER / "weights.safetensors").is_file():
        pytest.skip("the weights of the built-in detector are missing")
    with running(STARTERS, tmp_path_factory.mktemp("run"), free_port(), "--models", STARTER) as service:
        service.await_ready()
        yield service
        assert service.end() == 0


def test_one_curl_finds_the_cat_of_the_example_in_its_box(starter: Running) -> None:
    url = f"{starter.client.base_url}/v1/detect"
    command = ["curl", "--fail", "--silent", "--show-error", "-F", f"file=@{STARTERS / 'example.jpg'}", url]
    done = subprocess.run(command, capture_output=True, check=True)
    document = json.loads(done.stdout)
    (result,) = document["results"]
    first = result["detections"][0]
    assert document["model"]["name"] == STARTER
    assert first["label"] == "cat"
    left, top, width, height = first["bbox"]
    size = result["image"]
    assert width * height > 0.2 * size["width"] * size["height"]
    assert 0 <= left <= left + width <= size["width"]
    assert 0 <= top <= top + height <= size["height"]
    drawn = coco.decode({**first["mask"], "counts": first["mask"]["counts"].encode()})
    rows, columns = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(drawn.any(axis=0))
    extent = np.array([[columns[0], rows[0], columns[-1] + 1 - columns[0], rows[-1] + 1 - rows[0]]], np.float64)
    assert coco.iou(extent, np.array([first["bbox"]], np.float64), [0])[0, 0] >= 0.8


def test_one_curl_draws_the_cat_over_the_example(starter: Running, tmp_path: Path) -> None:
    url, out = f"{starter.client.base_url}/v1/detect", tmp_path / "overlay.png"
    command = ["curl", "--fail", "--silent", "--show-error", "-F", f"file=@{STARTERS / 'example.jpg'}"]
    subprocess.run([*command, "-H", "Accept: image/png", url, "-o", str(out)], check=True)
    with Image.open(out) as drawn, Image.open(io.BytesIO((STARTERS / "example.jpg").read_bytes())) as before:
        assert drawn.format == "PNG"
        assert drawn.size == before.size
        changed = (np.asarray(drawn.convert("RGB")) != np.asarray(before.convert("RGB"))).any(axis=2)
    assert 0.1 < changed.mean() < 1
