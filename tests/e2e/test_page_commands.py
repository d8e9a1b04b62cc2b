"""The commands of the pages, run as they are written there, with a real service of the built-in models."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.host.processes import free_port
from tests.e2e.running import COMMAND, Running, running
from tests.gateway.fixtures.images import image_bytes
from tests.laws.page_commands import COMMANDS_TEST, RUN_BY, runnable

ROOT = Path(__file__).parents[2]
CLI = "docs/cli.md"
PAGE = ROOT / CLI
OTHERS = [page for page, test in RUN_BY.items() if test == COMMANDS_TEST and page != CLI]
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("service")
    with running(ROOT / "model_store", folder / "run", free_port()) as started:
        started.await_ready()
        yield started


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the files that the page names."""
    for name in ("photos/cat.jpg", "photos/deep/dog.jpg", "more/a/b.jpg"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image_bytes(len(name), kind="JPEG"))
    (tmp_path / "list.txt").write_text("photos/cat.jpg\nphotos/deep/dog.jpg\n", encoding="utf-8")
    return tmp_path


def run(block: str, folder: Path, port: int) -> None:
    environment = {
        "PATH": f"{Path(COMMAND).parent}:/usr/bin:/bin",
        "HOME": str(folder),
        "RESNEST_URL": f"http://127.0.0.1:{port}",
        "RESNEST_PORT": str(free_port()),
        "RESNEST_MODEL_STORE": str(ROOT / "model_store"),
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("page", OTHERS)
def test_the_commands_of_another_page_work_as_written(page: str, folder: Path, service: Running) -> None:
    folder.joinpath("model_store").symlink_to(ROOT / "model_store")
    folder.joinpath(".curlrc").write_text("fail\n", encoding="utf-8")
    for command in runnable(page):
        adapted = command.replace("127.0.0.1:8000", f"127.0.0.1:{service.client.base_url.port}")
        run(adapted, folder, service.client.base_url.port or 0)

    if page == "README.md":
        assert (folder / "mask.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.split("\n")[0])
def test_the_commands_of_the_page_work_as_written(block: str, folder: Path, service: Running) -> None:
    run(block, folder, service.client.base_url.port or 0)


def test_the_commands_write_what_the_page_says(folder: Path, service: Running) -> None:
    for block in BLOCKS:
        run(block, folder, service.client.base_url.port or 0)

    written = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert written >= {"masks/cat.mask.png", "masks/deep/dog.overlay.png", "maps/cat.overlay-1.png", "boxes.csv"}
    assert written >= {"results.jsonl", ".results.jsonl.run.json", "findings.json", "vectors.jsonl"}
    lines = (folder / "masks.jsonl").read_text(encoding="utf-8").splitlines()
    assert len({json.loads(line)["file"] for line in lines}) == len(lines) == 3
