"""The commands of the pages, run as they are written there, with a real service of the built-in models."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from service.host.processes import free_port
from tests.e2e.running import COMMAND, Running
from tests.gateway.fixtures.images import image_bytes
from tests.laws.page_commands import COMMANDS_TEST, RUN_BY, runnable

ROOT = Path(__file__).parents[2]
CLI = "docs/cli.md"
PAGE = ROOT / CLI
OTHERS = [page for page, test in RUN_BY.items() if test == COMMANDS_TEST and page != CLI]
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
# Files that the page says its commands write, by the first command of the block.
WRITTEN = {
    "resnest-service classify photos/cat.jpg": {
        "boxes.csv",
        "masks/cat.mask.png",
        "masks/deep/dog.overlay.png",
        "maps/cat.overlay-1.png",
        "vectors.jsonl",
    },
    "resnest-service bulk photos --out results.jsonl": {"results.jsonl", ".results.jsonl.run.json", "masks.jsonl"},
    "resnest-service doctor": {"findings.json"},
}

pytestmark = pytest.mark.e2e


def with_files(folder: Path) -> Path:
    """Write the files that the pages name into a folder, and return the folder."""
    for name in ("photos/cat.jpg", "photos/deep/dog.jpg", "more/a/b.jpg"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image_bytes(len(name), kind="JPEG"))
    (folder / "list.txt").write_text("photos/cat.jpg\nphotos/deep/dog.jpg\n", encoding="utf-8")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for the commands of one page."""
    return with_files(tmp_path)


@pytest.fixture(scope="module")
def folder_of_the_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a reader runs all blocks of the page, from top to bottom."""
    return with_files(tmp_path_factory.mktemp("page"))


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
def test_the_commands_of_another_page_work_as_written(page: str, folder: Path, starters: Running) -> None:
    folder.joinpath("model_store").symlink_to(ROOT / "model_store")
    folder.joinpath(".curlrc").write_text("fail\n", encoding="utf-8")
    for command in runnable(page):
        adapted = command.replace("127.0.0.1:8000", f"127.0.0.1:{starters.client.base_url.port}")
        run(adapted, folder, starters.client.base_url.port or 0)

    if page == "README.md":
        assert (folder / "mask.png").read_bytes().startswith(b"\x89PNG")


def first_command(block: str) -> str:
    return block.partition("\n")[0]


@pytest.mark.parametrize("block", BLOCKS, ids=first_command)
def test_the_commands_of_the_page_work_as_written(block: str, folder_of_the_page: Path, starters: Running) -> None:
    run(block, folder_of_the_page, starters.client.base_url.port or 0)

    files = {str(path.relative_to(folder_of_the_page)) for path in folder_of_the_page.rglob("*") if path.is_file()}
    assert files >= WRITTEN.get(first_command(block), set())
    if "masks.jsonl" in block:
        lines = (folder_of_the_page / "masks.jsonl").read_text(encoding="utf-8").splitlines()
        assert len({json.loads(line)["file"] for line in lines}) == len(lines) == 3


def test_the_blocks_whose_files_are_checked_are_on_the_page() -> None:
    assert WRITTEN.keys() <= set(map(first_command, BLOCKS))
