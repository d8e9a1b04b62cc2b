"""A store with a damaged model: the real service serves the others, and tells callers and operators which one it is."""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.host.processes import free_port
from tests.e2e.running import (
    COMMAND,
    PROCESS_PAUSE_S,
    START_S,
    Running,
    address_options,
    probed,
    running,
    until,
    worker_addresses,
)
from tests.e2e.test_answers import post, upload
from tests.e2e.test_life import fails
from tests.stores import write_store

pytestmark = pytest.mark.e2e


@pytest.fixture
def store(served_store: Path, tmp_path: Path) -> Path:
    """A store of two models that a test may change."""
    return copied(served_store, tmp_path / "store")


def copied(store: Path, to: Path) -> Path:
    """Copy the two models of a store."""
    for name in ("tiny-classifier", "tiny-segmenter"):
        shutil.copytree(store / name, to / name)
    return to


def change_a_byte(store: Path, name: str, _: Path | None = None) -> None:
    weights = store / name / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.unlink()  # it may be linked to an archive
    weights.write_bytes(content)


def misfit(store: Path, name: str, folder: Path) -> None:
    """Give a model the weights of another network with the right checksum, so that only a worker finds out."""
    other = write_store(folder, "tiny-classifier-b") / "tiny-classifier-b" / "weights.safetensors"
    card = store / name / "card.toml"
    text = card.read_text(encoding="utf-8")
    stated = text.split('sha256 = "')[1][:64]
    card.write_text(text.replace(stated, hashlib.sha256(other.read_bytes()).hexdigest()), encoding="utf-8")
    shutil.copy(other, card.with_name("weights.safetensors"))


@pytest.fixture(
    scope="module",
    params=[(change_a_byte, misfit), pytest.param((misfit, change_a_byte), marks=pytest.mark.stress)],
    ids=["a byte", "a network"],
)
def left(
    request: pytest.FixtureRequest, served_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """A ready service of one classifier. Another classifier and the only segmenter have one damage each."""
    store, other = copied(served_store, tmp_path_factory.mktemp("damaged")), tmp_path_factory.mktemp("other")
    write_store(store, "tiny-classifier-b")
    for name, damage in zip(("tiny-classifier", "tiny-segmenter"), request.param, strict=True):
        damage(store, name, other / name)
    with running(store, tmp_path_factory.mktemp("run"), free_port()) as service:
        service.await_ready(2 * START_S)
        yield service
        assert service.end() == 0


def test_a_default_model_that_is_left_out_passes_its_requests_on_and_that_is_said(left: Running) -> None:
    assert "default of classify, embed, explain: tiny-classifier -> tiny-classifier-b" in left.output
    answered = post(left, "/v1/classify", upload(0))
    assert (answered.status_code, answered.json()["model"]["name"]) == (200, "tiny-classifier-b")


def test_run_leaves_a_damaged_model_out_and_serves_the_others(left: Running) -> None:
    """No other model has the segmenter's task, so its requests are not passed on."""
    ready, metrics = left.client.get("/readyz"), left.client.get("/metrics").text
    refused = post(left, "/v1/segment", upload(0))
    assert post(left, "/v1/classify", upload(0)).status_code == 200
    assert (refused.status_code, refused.json()["code"]) == (503, "model_refused")
    assert (ready.status_code, left.client.get("/readyz?require=all").status_code) == (200, 503)
    for name in ("tiny-classifier", "tiny-segmenter"):
        assert f"Leaving out a model: {name}: " in left.output
        assert ready.json()["models"][name]["state"] == "refused"
        assert f'resnest_model_refused{{model="{name}"}} 1.0' in metrics


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

    try:
        until(
            lambda: probed(environment, "--require", "any") or worker.poll() is not None,
            START_S,
            pause_s=PROCESS_PAUSE_S,
        )
        assert worker.poll() is None, (tmp_path / "log").read_text(encoding="utf-8")
        until(lambda: probed(environment, "--require", "all"), START_S, pause_s=PROCESS_PAUSE_S)
        subprocess.run([COMMAND, "health", "--require", "all"], env=environment, check=True)
        assert "Leaving out a model: tiny-classifier" in (tmp_path / "log").read_text(encoding="utf-8")
    finally:
        worker.terminate()
        worker.wait(60)
