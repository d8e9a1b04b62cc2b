"""The init container's own command, against a web server with the archive that the page's commands make."""

import hashlib
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from service.cli.models.fetch_command import TOKEN
from service.host.processes import free_port
from service.models import zoo
from tests.deploy.test_components import with_component
from tests.deploy.test_kubernetes import SCALED
from tests.deploy.test_weights import COMPONENTS, MODEL, PAGE, pod_of
from tests.stores import write_store

COMMAND = [sys.executable, "-m", "service"]


@dataclass
class Archives:
    """A web server with the archive that the page's commands make, and the list that they write."""

    url: str
    listed: Path
    made: Path


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archives]:
    folder = tmp_path_factory.mktemp("page")
    store = write_store(folder / "model_store", "tiny-classifier")
    (store / "tiny-classifier").rename(store / MODEL)
    (store / "labels").mkdir()
    (store / "labels" / "imagenet1k.tsv").write_text("class_id\tlabel\n0\tone\n", encoding="utf-8")
    served = folder / "served"
    served.mkdir()
    (commands,) = [block for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) if "sha256sum" in block]
    subprocess.run(["bash", "-ec", commands], cwd=folder, check=True, timeout=60)
    (folder / f"{MODEL}.tar").rename(served / f"{MODEL}.tar")
    handler = partial(Quiet, directory=str(served))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield Archives(f"http://127.0.0.1:{server.server_port}", folder / "SHA256SUMS", served / f"{MODEL}.tar")
        finally:
            server.shutdown()
            thread.join()


class Quiet(SimpleHTTPRequestHandler):
    """A file server without a log."""

    def log_message(self, *_: object) -> None: ...


# As in the gateway's image, which has no torch.
WITHOUT_TORCH = "import sys; sys.modules['torch'] = None; from service.cli.main import main; main()"


def fetch(deployment: str, archives: Archives, listed: Path, store: Path) -> subprocess.CompletedProcess[str]:
    """Run the command of a deployment's init container, with its mounts and its variable replaced."""
    (box,) = pod_of(with_component("weights-fetch"), deployment)["initContainers"]
    variable, token = box["env"]
    assert token["valueFrom"]["secretKeyRef"]["optional"] is True, "most servers want none"
    assert token["name"] == TOKEN
    mounts = {each["name"]: each["mountPath"] for each in box["volumeMounts"]}
    replaced = {
        f"$({variable['name']})": archives.url,
        mounts["models"]: str(store),
        f"{mounts['model-archives']}/SHA256SUMS": str(listed),
    }
    words = [replaced.get(word, word) for word in box["args"]]
    assert set(replaced.values()) <= set(words)
    return started([sys.executable, "-c", WITHOUT_TORCH, *words])


def started(command: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "NO_PROXY": "127.0.0.1", **variables}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("deployment", SCALED)
def test_what_the_init_container_fetches_passes_the_check_of_a_worker(
    deployment: str, archives: Archives, tmp_path: Path
) -> None:
    store = tmp_path / "models"
    store.mkdir()

    done = fetch(deployment, archives, archives.listed, store)

    assert (done.returncode, done.stdout) == (0, f"{MODEL}.tar: labels, {MODEL}\n"), done.stderr
    assert [*zoo.read_all(store)] == ["tiny-classifier"]
    # What `worker` does before it starts TorchServe, with the store mounted read-only.
    packaged = started([*COMMAND, "package", "--store", str(store), "--into", str(tmp_path / "archives")])
    assert (packaged.returncode, packaged.stdout) == (0, f"{tmp_path / 'archives'}/tiny-classifier\n"), packaged.stderr


def test_another_file_than_the_listed_one_stops_the_pod_and_a_worker_does_not_start(
    archives: Archives, tmp_path: Path
) -> None:
    store, listed = tmp_path / "models", tmp_path / "SHA256SUMS"
    store.mkdir()
    listed.write_text((COMPONENTS / "weights-fetch/SHA256SUMS").read_text("utf-8").replace("models", MODEL), "utf-8")

    done = fetch("worker", archives, listed, store)

    found = hashlib.sha256(archives.made.read_bytes()).hexdigest()
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith(f"sent a file with the SHA-256 {found}, but {'0' * 64} is listed")
    assert_neither_starts(store)


def test_with_the_empty_folder_that_an_old_server_mounts_neither_worker_nor_gateway_starts(tmp_path: Path) -> None:
    store = tmp_path / "models"
    store.mkdir()

    said = assert_neither_starts(store)

    (message,) = re.findall(r"^    (Error: .* holds no model: .*)$", PAGE, re.MULTILINE)
    assert message.replace("/srv/models", str(store)) in said


def assert_neither_starts(store: Path) -> str:
    """Check that both end with an error that names the store. Return what the worker said."""
    store.chmod(0o555)
    environment = {"RESNEST_MODEL_STORE": str(store), "RESNEST_PORT": str(free_port()), "TMPDIR": str(store.parent)}
    worker, gateway = (started([*COMMAND, role], **environment) for role in ("worker", "gateway"))
    assert (worker.returncode, gateway.returncode) == (1, 1), worker.stderr + gateway.stderr
    for said in (worker.stderr, gateway.stderr):
        assert str(store) in said.splitlines()[-1]
    return worker.stderr
