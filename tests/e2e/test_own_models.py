"""A user's own checkpoint in two versions: imported, served, and evaluated both through the service and offline."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from click.testing import CliRunner
from PIL import Image

from service.cli.main import main
from service.host.processes import free_port
from service.measure.pipeline import Pipeline
from service.models import cards, zoo
from service.tasks.segmentation.scoring import mask_of
from tests.e2e.running import COMMAND, Running, running
from tests.e2e.test_answers import mask, post, scores, upload
from tests.stores import FLOWERS_AND_PETS, write_store

pytestmark = pytest.mark.e2e


def call(*words: str, **environment: str) -> str:
    """Run a command, which must succeed, and return its standard output."""
    known = {key: value for key, value in os.environ.items() if "RESNEST" not in key}
    done = subprocess.run([COMMAND, *words], env=known | environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def call_here(*words: str) -> str:
    """Do the same in this process, which has torch: to load it takes a second of a core."""
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with `mine` 1.0 and 2.0, imported with the documented command, and a segmenter."""
    folder = write_store(tmp_path / "store", "tiny-segmenter")
    source = write_store(tmp_path / "source", "tiny-classifier") / "tiny-classifier" / "weights.safetensors"
    state = safetensors.torch.load_file(source)
    (tmp_path / "labels.txt").write_text("\n".join(FLOWERS_AND_PETS) + "\n", encoding="utf-8")
    words = ("--network", "resnest14", "--labels", str(tmp_path / "labels.txt"), "--name", "mine", "--size", "64")
    for version, sign in (("1.0", 1), ("2.0", -1)):
        changed = {**state, "fc.weight": sign * state["fc.weight"], "fc.bias": sign * state["fc.bias"]}
        torch.save({"state_dict": changed, "epoch": 3}, tmp_path / "my.pth")
        call_here("models", "import", str(tmp_path / "my.pth"), *words, "--version", version, "--store", str(folder))
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twelve images in the folders of three labels."""
    for seed in range(12):
        path = tmp_path / "photos" / FLOWERS_AND_PETS[seed % 3] / f"{seed}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(upload(seed))
    return tmp_path / "photos"


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Four images with masks."""
    for kind in ("images", "masks"):
        (tmp_path / "pairs" / kind).mkdir(parents=True)
    for seed in range(4):
        (tmp_path / "pairs" / "images" / f"{seed}.jpg").write_bytes(upload(seed, 96, 72))
        classes = np.random.default_rng(seed).integers(0, 3, (6, 8), np.uint8).repeat(12, 0).repeat(12, 1)
        Image.fromarray(classes).save(tmp_path / "pairs" / "masks" / f"{seed}.png")
    return tmp_path / "pairs"


def measures(report: str) -> Any:
    """Return a report's numbers, with a tolerance, because the API returns confidences with six digits."""
    (model,) = json.loads(report)["models"]
    return {
        name: pytest.approx(value, abs=2e-3) if name == "calibration_error" else value
        for name, value in model.items()
        if isinstance(value, int | float | dict)
    }


def check_versions(service: Running, store: Path) -> None:
    """Check that each name selects its version, and that the answer is that of the same model in this process."""
    found = zoo.read_all(store)
    offline = {
        name: dict(enumerate(Pipeline.load(card, "cpu")(upload(1))[0].arrays["scores"].tolist()))
        for name, card in found.items()
        if card.task == "classification"
    }
    assert set(offline) == {"mine", "mine@1.0"}
    for name, expected in ((None, "mine@1.0"), ("mine", "mine"), ("mine@2.0", "mine"), ("mine@1.0", "mine@1.0")):
        answer = post(service, "/v1/classify", upload(1), top_k=7, **({"model": name} if name else {}))
        assert answer.status_code == 200, answer.text
        assert answer.json()["model"]["name"] == expected
        assert scores(answer.json()["results"][0]) == pytest.approx(offline[expected], abs=2e-3)
    model = service.client.get("/v1/models/mine@2.0").json()
    assert (model["version"], model["default"]) == ("2.0", False)
    assert model["memory"]["weights_bytes"] == found["mine"].weights_bytes
    assert model["memory"]["worker_bytes"] > model["memory"]["weights_bytes"]


def check_best_mask(service: Running, store: Path) -> None:
    """Check that `quality=best` gives the mask that the same model gives in this process."""
    (best,) = Pipeline.load(cards.read(store / "tiny-segmenter"), "cpu", "predict_multiscale")(upload(2))
    answer = post(service, "/v1/segment", upload(2), quality="best")
    assert answer.status_code == 200, answer.text
    np.testing.assert_array_equal(mask(answer.json()["results"][0]), mask_of(best))


@pytest.mark.timeout(600)
def test_a_checkpoint_of_ones_own_is_imported_served_and_scored_in_two_versions(
    store: Path, photos: Path, pairs: Path, tmp_path: Path
) -> None:
    secret = re.search(r"rsn_\S+", call("keys", "new", "tests", "--file", str(tmp_path / "keys")))
    assert secret is not None
    arguments = ("--keys-file", str(tmp_path / "keys"), "--default", "mine@1.0")
    with running(store, tmp_path / "run", free_port(), *arguments) as service:
        service.await_ready()
        url = str(service.client.base_url)
        service.client.headers["Authorization"] = f"Bearer {secret[0]}"
        check_versions(service, store)
        check_best_mask(service, store)
        for words in (
            ("mine@1.0", str(photos)),
            ("tiny-segmenter", str(pairs)),
            ("tiny-segmenter", str(pairs), "--quality", "best"),
        ):
            options = ("--store", str(store), "--format", "json")
            here = call_here("evaluate", *words, *options)
            there = call("evaluate", *words, *options, "--url", url, RESNEST_API_KEY=secret[0])
            assert json.loads(there)["models"][0].keys() == json.loads(here)["models"][0].keys()
            assert measures(there) == measures(here)
        assert service.end() == 0
