"""The rollout of docs/operations/rollouts.md, with two versions of the starter classifier in a real TorchServe."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from service.host.processes import free_port
from tests.e2e.running import Running, running, until
from tests.e2e.test_answers import upload
from tests.laws.sources import ROOT

pytestmark = pytest.mark.e2e

MODEL = "starter-classifier"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with the starter classifier as 1.0 and as 1.1."""
    folder = tmp_path / "store"
    for name, version in ((MODEL, "1.0"), (f"{MODEL}-next", "1.1")):
        shutil.copytree(ROOT / "model_store" / MODEL, folder / name)
        card = folder / name / "card.toml"
        text = card.read_text(encoding="utf-8").replace('version = "1.0"', f'version = "{version}"')
        card.write_text(text, encoding="utf-8")
    return folder


def commands() -> list[str]:
    """Return the five commands of docs/operations/rollouts.md."""
    text = (ROOT / "docs" / "operations" / "rollouts.md").read_text(encoding="utf-8")
    found = re.search(r"A rollout in five commands.*?```sh\n(.*?)```", text, re.DOTALL)
    assert found is not None
    return found[1].splitlines()


def do(line: str, folder: Path) -> str:
    """Run a command line, and return its output."""
    done = subprocess.run(["sh", "-ec", line], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def version(service: Running, **headers: str) -> str:
    """Return the version that answers."""
    answer = service.client.post("/v1/classify", content=upload(1), headers=headers)
    assert answer.status_code == 200, answer.text
    found: str = answer.json()["model"]["version"]
    assert answer.headers["x-model-version"] == found
    return found


def share(service: Running) -> float:
    """Return the current share of 1.1."""
    found: float = service.client.get("/v1/traffic").json()["models"][MODEL]["shares"]["1.1"]
    return found


@pytest.mark.timeout(600)
def test_a_new_version_is_shadowed_tried_by_some_and_takes_over_without_a_restart(store: Path, tmp_path: Path) -> None:
    begin, run, read_metrics, few, all_of_it = commands()
    port = free_port()

    def compared() -> bool:
        assert version(service) == "1.0"
        metrics = do(read_metrics.replace(":8000", f":{port}"), tmp_path)
        counts = dict(line.rsplit(" ", 1) for line in metrics.splitlines() if not line.startswith("#"))
        count = float(counts[f'resnest_shadow_images_total{{family="{MODEL}",outcome="compared",version="1.1"}}'])
        # Both versions have the same weights, so they always agree.
        return count >= 3 and count == float(
            counts[f'resnest_shadow_agreement_total{{family="{MODEL}",version="1.1"}}']
        )

    do(begin, tmp_path)
    command, word, option, file = run.split()
    assert (command, word) == ("resnest-service", "run")
    with running(store, tmp_path / "run", port, option, str(tmp_path / file)) as service:
        service.await_ready()
        until(compared, 120, lambda: service.output)
        assert version(service, **{"X-Model-Version": "1.1"}) == "1.1"

        do(few, tmp_path)
        until(lambda: share(service) == 0.05, 60)
        assert len({version(service) for _ in range(5)}) == 1  # one caller, one version

        do(all_of_it, tmp_path)
        until(lambda: version(service) == "1.1", 60)
        assert service.end() == 0
