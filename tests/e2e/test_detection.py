"""Detection by the whole service, compared with the same model in this process."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco

from service.engines import multi_graph
from service.host.processes import free_port
from service.measure.pipeline import Pipeline
from service.models import cards
from tests.e2e.running import running
from tests.e2e.test_answers import post, upload
from tests.stores import serving, write_store

pytestmark = pytest.mark.e2e


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
