"""Labels of one's own: from a folder of photos to the answers of a running service."""

import io
import shutil
from pathlib import Path

import pytest

from service.host.processes import free_port
from service.models import cards
from tests.cli.train.photos import COLOURS, made, write
from tests.e2e.running import running
from tests.e2e.test_own_models import call

pytestmark = pytest.mark.e2e

STORE = Path(__file__).parents[2] / "model_store"
LABELS = ("brick", "grass", "sand", "sea")


def test_a_folder_of_photos_becomes_a_model_that_a_service_answers_with(tmp_path: Path) -> None:
    store = tmp_path / "store"
    shutil.copytree(STORE / "starter-classifier", store / "starter-classifier")
    photos = write(tmp_path / "photos", dict.fromkeys(LABELS, 15))

    said = call("train", str(photos), "--from", "starter-classifier", "--name", "mine", "--store", str(store))

    assert "Serve it: resnest-service run --models mine" in said
    assert cards.read(store / "mine").measured["top1"] >= 0.9
    with running(store, tmp_path / "run", free_port(), "--models", "mine") as service:
        service.await_ready()
        answers = []
        for number in range(20):
            image = io.BytesIO()
            made(COLOURS[LABELS[number % 4]], 50_000 + number).save(image, "PNG")
            headers = {"Content-Type": "image/png"}
            answer = service.client.post("/v1/classify", content=image.getvalue(), headers=headers)
            assert answer.status_code == 200, answer.text
            answers.append(answer.json()["results"][0]["predictions"][0]["label"])
        assert sum(answers[number] == LABELS[number % 4] for number in range(20)) >= 18
        assert service.client.get("/v1/models/mine").json()["labels"][0]["label"] == "brick"
