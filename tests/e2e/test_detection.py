"""Detection by the whole service, compared with the same model in this process."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco

from service.engines import multi_graph
from service.host.processes import free_port
from service.measure.pipeline import Pipeline
from service.models import cards
from tests.e2e.running import Running, running
from tests.e2e.test_answers import post, upload
from tests.stores import rename_model, serving, write_store

pytestmark = pytest.mark.e2e


MODEL = "tiny-detector"
ENGINES = ("torch", "openvino")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of the same detector for each engine, in the folder of the engine's name."""
    folder = tmp_path_factory.mktemp("store")
    for engine in ENGINES:
        # Random scores are so close that bfloat16 changes their order.
        write_store(folder, MODEL, changes={"serving": {"engine": engine, "precision": "fp32"}})
        rename_model(folder / MODEL, folder / engine)
    return folder


@pytest.fixture(scope="module")
def detectors(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A ready service of both."""
    with running(store, tmp_path_factory.mktemp("run"), free_port()) as service:
        service.await_ready()
        yield service
        assert service.end() == 0


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


@pytest.mark.parametrize("engine", ENGINES)
def test_detections_are_those_computed_offline(store: Path, detectors: Running, engine: str) -> None:
    card = cards.read(store / engine)
    pipeline = Pipeline(card, multi_graph.load(serving(card, engine="torch"), "cpu"))
    for size in ((240, 180), (96, 400), (640, 480)):
        data = upload(2, *size)
        (expected,) = pipeline(data)
        response = post(detectors, "/v1/detect", data, model=engine, min_score=0)
        assert response.status_code == 200, response.text
        (result,) = response.json()["results"]
        close_to(result["detections"], expected.arrays, *size)
        for row in result["detections"]:
            mask = coco.decode({**row["mask"], "counts": row["mask"]["counts"].encode()})
            assert mask.shape == size[::-1]
            assert mask.sum() == row["pixels"]
    files = [("file", upload(seed)) for seed in range(3)]
    several = detectors.client.post("/v1/detect", files=files, params={"model": engine})
    alone = [post(detectors, "/v1/detect", data, model=engine).json()["results"][0]["detections"] for _, data in files]
    assert [row["detections"] for row in several.json()["results"]] == alone
    assert len({str(rows) for rows in alone}) == 3
