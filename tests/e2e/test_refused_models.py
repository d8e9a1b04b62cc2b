"""A store with a damaged model: the real service serves the others, and tells callers and operators which one it is."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from service.host.processes import free_port
from tests.e2e.running import COMMAND, PROCESS_PAUSE_S, START_S, address_options, running, until, worker_addresses
from tests.e2e.test_answers import post, upload
from tests.e2e.test_life import fails
from tests.stores import write_store

pytestmark = pytest.mark.e2e


@pytest.fixture
def store(served_store: Path, tmp_path: Path) -> Path:
    """A store of two models that a test may change."""
    for name in ("tiny-classifier", "tiny-segmenter"):
        shutil.copytree(served_store / name, tmp_path / "store" / name)
    return tmp_path / "store"


def change_a_byte(store: Path, name: str) -> None:
    weights = store / name / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.unlink()  # it may be linked to an archive
    weights.write_bytes(content)


def misfit(store: Path, folder: Path) -> None:
    """Give the classifier the weights of another network with the right checksum, so that only a worker finds out."""
    other = write_store(folder, "tiny-classifier-b") / "tiny-classifier-b" / "weights.safetensors"
    card = store / "tiny-classifier" / "card.toml"
    text = card.read_text(encoding="utf-8")
    stated = text.split('sha256 = "')[1][:64]
    card.write_text(text.replace(stated, hashlib.sha256(other.read_bytes()).hexdigest()), encoding="utf-8")
    shutil.copy(other, card.with_name("weights.safetensors"))


def spoil(store: Path, folder: Path, damage: str) -> None:
    """Damage the classifier of the store. `folder` is for other files."""
    if damage == "a byte":
        change_a_byte(store, "tiny-classifier")
    else:
        misfit(store, folder)


@pytest.mark.parametrize("damage", ["a byte", "another network"])
def test_a_default_model_that_is_left_out_passes_its_requests_on_and_that_is_said(
    store: Path, tmp_path: Path, damage: str
) -> None:
    write_store(store, "tiny-classifier-b")
    spoil(store, tmp_path / "other", damage)
    with running(store, tmp_path / "run", free_port()) as service:
        service.await_ready(2 * START_S)
        assert "default of classify, embed, explain: tiny-classifier -> tiny-classifier-b" in service.output
        answered = post(service, "/v1/classify", upload(0))
        assert (answered.status_code, answered.json()["model"]["name"]) == (200, "tiny-classifier-b")
        assert service.end() == 0


@pytest.mark.parametrize("damage", ["a byte", "another network"])
def test_run_leaves_a_damaged_model_out_and_serves_the_other(store: Path, tmp_path: Path, damage: str) -> None:
    spoil(store, tmp_path / "other", damage)
    with running(store, tmp_path / "run", free_port()) as service:
        service.await_ready(2 * START_S)
        assert "Leaving out a model: tiny-classifier: " in service.output
        answered = post(service, "/v1/segment", upload(0))
        refused = post(service, "/v1/classify", upload(0))
        ready = service.client.get("/readyz")
        assert answered.status_code == 200
        assert (refused.status_code, refused.json()["code"]) == (503, "model_refused")
        assert (ready.status_code, service.client.get("/readyz?require=all").status_code) == (200, 503)
        assert ready.json()["models"]["tiny-classifier"]["state"] == "refused"
        assert 'resnest_model_refused{model="tiny-classifier"} 1.0' in service.client.get("/metrics").text
        assert service.end() == 0


def test_run_ends_where_no_model_is_left_and_where_it_is_strict(store: Path, tmp_path: Path) -> None:
    change_a_byte(store, "tiny-classifier")
    assert "has the SHA-256" in fails(store, tmp_path / "strict", free_port(), "--strict")
    change_a_byte(store, "tiny-segmenter")
    last = fails(store, tmp_path / "none", free_port())
    assert last.count("has the SHA-256") == 2


def test_a_worker_that_left_a_damaged_model_out_is_healthy(store: Path, tmp_path: Path) -> None:
    """Otherwise its pod never becomes ready: waiting does not mend a file."""
    change_a_byte(store, "tiny-classifier")
    urls = worker_addresses()
    environment = {**os.environ, "TMPDIR": str(tmp_path), "RESNEST_MODEL_STORE": str(store)}
    with (tmp_path / "log").open("wb") as log:
        worker = subprocess.Popen([COMMAND, "worker", *address_options(urls)], env=environment, stdout=log, stderr=log)

    def health(require: str) -> subprocess.CompletedProcess[bytes]:
        command = [COMMAND, "health", "--require", require]
        return subprocess.run(command, env=environment, capture_output=True, check=False)

    try:
        until(lambda: health("any").returncode == 0 or worker.poll() is not None, START_S, pause_s=PROCESS_PAUSE_S)
        assert worker.poll() is None, (tmp_path / "log").read_text(encoding="utf-8")
        until(lambda: health("all").returncode == 0, START_S, pause_s=PROCESS_PAUSE_S)
        assert "Leaving out a model: tiny-classifier" in (tmp_path / "log").read_text(encoding="utf-8")
    finally:
        worker.terminate()
        worker.wait(60)
