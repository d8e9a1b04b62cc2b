"""Models are added, replaced and removed while the whole service runs, with two gateway processes."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from service.host.processes import free_port
from tests.e2e.fleet import WORKER
from tests.e2e.running import COMMAND, NO_HTTPS, Running, running, until
from tests.e2e.test_answers import upload
from tests.e2e.test_gateways import GATEWAY
from tests.stores import write_store

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

LOOKS = 12  # new connections, so that each of two gateway processes is asked; all at one has a chance of 1 in 2,048


def reload(service: Running, store: Path, *options: str, fails: bool = False) -> str:
    """Run `models reload`, and return what it says."""
    command = [COMMAND, "models", "reload", "--store", str(store), *options]
    done = subprocess.run(
        command, env={"TMPDIR": str(service.temporary)}, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == int(fails), (done.stdout, done.stderr, service.output)
    return done.stderr if fails else done.stdout


def ask(service: Running, *words: Any, **request: Any) -> httpx.Response:
    """Send a request on a connection of its own."""
    with httpx.Client(base_url=service.client.base_url, timeout=60, verify=NO_HTTPS) as client:
        return client.request(*words, **request)


def models(service: Running) -> dict[str, str]:
    """Return the versions of the served models by name, on which all gateway processes agree."""
    found = [
        {each["name"]: each["version"] for each in ask(service, "GET", "/v1/models").json()["models"]}
        for _ in range(LOOKS)
    ]
    assert all(each == found[0] for each in found), found
    return found[0]


def version(store: Path, name: str, number: str, folder: str) -> None:
    """Copy a model as another version."""
    shutil.copytree(store / name, store / folder)
    card = store / folder / "card.toml"
    text = card.read_text(encoding="utf-8").replace('version = "1.0"', f'version = "{number}"')
    card.write_text(text, encoding="utf-8")


def test_models_are_added_replaced_and_removed_and_a_broken_one_is_refused(tmp_path: Path) -> None:
    """One service for all of it, because a start takes longer than each of the changes."""
    store = write_store(tmp_path / "store", "tiny-classifier")
    with running(store, tmp_path / "run", free_port(), RESNEST_GATEWAY_WORKERS="2") as service:
        service.await_ready()
        processes = len(service.members(WORKER))
        add_and_replace(service, store)
        refuse(service, store)
        remove(service, store)
        keep_the_default(service, store)
        until(lambda: len(service.members(WORKER)) == processes, 30, lambda: service.output)
        assert "does not remove" not in service.output
        assert service.end() == 0
    assert [path.name for path in (store / "archives").glob("[!.]*")] == []


def add_and_replace(service: Running, store: Path) -> None:
    """Add a segmenter, and put version 2.0 of the classifier in the place of 1.0."""
    write_store(store, "tiny-segmenter")
    version(store, "tiny-classifier", "2.0", "newer")
    shutil.rmtree(store / "tiny-classifier")

    said = reload(service, store)

    for words in ("MiB needed (estimated)", "1.0 has ended", "2 added, 0 replaced, 1 removed"):
        assert words in said
    assert models(service) == {"tiny-classifier": "2.0", "tiny-segmenter": "1.0"}
    answer = ask(service, "POST", "/v1/classify", content=upload(1))
    assert (answer.status_code, answer.headers["x-model-version"]) == (200, "2.0")
    assert ask(service, "POST", "/v1/segment", content=upload(1)).status_code == 200


def refuse(service: Running, store: Path) -> None:
    """Try to remove the segmenter and to add a model with one wrong byte."""
    shutil.move(store / "tiny-segmenter", store.parent)
    write_store(store, "tiny-classifier-b")
    broken = store / "tiny-classifier-b" / "weights.safetensors"
    content = broken.read_bytes()
    broken.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))

    told = reload(service, store, fails=True)

    assert "nothing was changed: tiny-classifier-b: " in told
    assert "has the SHA-256" in told
    assert models(service) == {"tiny-classifier": "2.0", "tiny-segmenter": "1.0"}
    assert "resnest_model_reload_failed 1.0" in service.client.get("/metrics").text


def remove(service: Running, store: Path) -> None:
    """Remove the segmenter."""
    shutil.rmtree(store / "tiny-classifier-b")

    assert "0 added, 0 replaced, 1 removed" in reload(service, store)

    assert models(service) == {"tiny-classifier": "2.0"}
    gone = ask(service, "POST", "/v1/segment", content=upload(1))
    assert (gone.status_code, gone.json()["code"]) == (404, "model_not_found")
    metrics = service.client.get("/metrics").text
    assert "resnest_model_reload_failed 0.0" in metrics
    assert 'resnest_workers_ready{model="tiny-segmenter"}' not in metrics


def default(service: Running) -> str:
    """Return the name of the default classifier, on which all gateway processes agree."""
    (name,) = {
        each["name"]
        for _ in range(LOOKS)
        for each in ask(service, "GET", "/v1/models").json()["models"]
        if each["default"] and each["task"] == "classification"
    }
    return str(name)


def is_back(service: Running, before: list[psutil.Process]) -> bool:
    """Return whether a process has replaced one of those before, and all answer."""
    now = service.members(GATEWAY)
    try:
        return len(now) == len(before) and now != before and all(models(service) for _ in range(2))
    except httpx.TransportError:  # the connection was for the process that was killed
        return False


def keep_the_default(service: Running, store: Path) -> None:
    """Add a classifier whose name sorts first, then replace a gateway process, then remove the default classifier."""
    write_store(store, "tiny-classifier-b")
    (store / "tiny-classifier-b").rename(store / "aardvark")
    card = store / "aardvark" / "card.toml"
    card.write_text(card.read_text(encoding="utf-8").replace('"tiny-classifier-b"', '"aardvark"'), encoding="utf-8")

    assert "default of" not in reload(service, store)
    assert default(service) == "tiny-classifier"
    gateways = service.members(GATEWAY)
    gateways[-1].kill()
    until(lambda: is_back(service, gateways), 60, lambda: service.output)
    assert default(service) == "tiny-classifier"

    shutil.rmtree(store / "newer")
    line = "default of classify, embed, explain: tiny-classifier -> aardvark"
    assert line in reload(service, store)
    assert line in service.output
    assert default(service) == "aardvark"


def test_without_a_service_it_says_so(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", "tiny-classifier", weights=False)
    done = subprocess.run(
        [COMMAND, "models", "reload", "--store", str(store)],
        env={"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "no ready `resnest-service run` of this user serves" in done.stderr
