"""The built-in models: what they see in a photograph of a cat."""

import io
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from tests.e2e.running import Running
from tests.e2e.test_answers import post
from tests.laws.sources import ROOT

pytestmark = pytest.mark.e2e

STORE = ROOT / "model_store"


def test_the_starter_models_know_chelsea_for_a_cat(starters: Running) -> None:
    data = pytest.importorskip("skimage.data")
    out = io.BytesIO()
    Image.fromarray(data.chelsea()).save(out, "JPEG", quality=90)
    (classified,) = post(starters, "/v1/classify", out.getvalue(), model="starter-classifier").json()["results"]
    assert classified["predictions"][0]["label"] == "cat"
    (segmented,) = post(starters, "/v1/segment", out.getvalue(), model="starter-segmenter").json()["results"]
    shares = {segment["label"]: segment["share"] for segment in segmented["segments"]}
    assert shares.get("cat", 0) > 0.3, shares
    assert shares.get("cat", 0) > shares.get("dog", 0)


def test_one_curl_finds_the_cat_of_the_example_in_its_box(starters: Running) -> None:
    url = f"{starters.client.base_url}/v1/detect"
    command = ["curl", "--fail", "--silent", "--show-error", "-F", f"file=@{STORE / 'example.jpg'}", url]
    done = subprocess.run(command, capture_output=True, check=True)
    document = json.loads(done.stdout)
    (result,) = document["results"]
    first = result["detections"][0]
    assert document["model"]["name"] == "starter-detector"
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


def test_one_curl_draws_the_cat_over_the_example(starters: Running, tmp_path: Path) -> None:
    url, out = f"{starters.client.base_url}/v1/detect", tmp_path / "overlay.png"
    command = ["curl", "--fail", "--silent", "--show-error", "-F", f"file=@{STORE / 'example.jpg'}"]
    subprocess.run([*command, "-H", "Accept: image/png", url, "-o", str(out)], check=True)
    with Image.open(out) as drawn, Image.open(io.BytesIO((STORE / "example.jpg").read_bytes())) as before:
        assert drawn.format == "PNG"
        assert drawn.size == before.size
        changed = (np.asarray(drawn.convert("RGB")) != np.asarray(before.convert("RGB"))).any(axis=2)
    assert 0.1 < changed.mean() < 1
